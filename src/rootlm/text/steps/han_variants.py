"""Simplified and traditional characters: Chinese text is written in one of them, with OpenCC."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from rootlm.core.config import Config
from rootlm.text.document import Rewrite
from rootlm.text.steps.characters import profile

if TYPE_CHECKING:
    from opencc import OpenCC

_KANA_SHARE = 0.05


class HanVariants(Config):
    """Rewrite Chinese text in simplified or traditional characters; Japanese is left alone.

    OpenCC may convert its own result again (薴 → 苧 → 苎), so it is asked until nothing changes.
    """

    to: Literal[
        "t2s", "s2t", "s2tw", "s2twp", "s2hk", "tw2s", "tw2sp", "hk2s", "t2tw", "t2hk", "tw2t", "hk2t"
    ] = "t2s"
    """What becomes what: s simplified, t traditional, tw and hk as in Taiwan and Hong Kong, p words as well."""

    def build(self) -> Rewrite:
        """Return the rewrite; raises ValueError when OpenCC is missing."""
        converter = _converter(self.to)

        def rewrite(text: str) -> str:
            counts = profile(text)
            if counts.han == 0 or counts.kana > _KANA_SHARE * counts.han or counts.hangul > counts.han:
                return text
            return settled(converter, text)

        return rewrite


def settled(converter: OpenCC, text: str) -> str:
    """Convert until nothing changes; of texts that become one another in turn, return the first in order."""
    seen = [text]
    while (text := converter.convert(text)) not in seen:
        seen.append(text)
    return min(seen[seen.index(text) :])


@cache
def _converter(name: str) -> OpenCC:
    try:
        from opencc import OpenCC
    except ImportError:
        raise ValueError(
            'simplified and traditional: OpenCC is missing; pip install "rootlm[chinese]"'
        ) from None
    return OpenCC(name)
