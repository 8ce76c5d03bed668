"""Lemmas of English words: ran → run, mice → mouse."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_ENGLISH = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_REMEMBERED = 1 << 16


def lemmatizer() -> Callable[[str], str]:
    """Return what gives an English word's lemma and leaves every other word as it is.

    It looks words up one by one, so `better` is `good` whatever it stands for. Raises ValueError when the
    library is not installed.

    >>> lemma = lemmatizer()
    >>> [lemma(word) for word in ("The", "mice", "ran", "北京", "3.14")]
    ['the', 'mouse', 'run', '北京', '3.14']
    """
    try:
        import simplemma
    except ImportError as error:
        raise ValueError('lemmas need simplemma; install it with pip install "rootlm[words]"') from error
    look_up: Callable[..., str] = simplemma.lemmatize

    # What is not a word of letters comes back as it is, and sooner without a look-up.
    @lru_cache(_REMEMBERED)
    def lemma(word: str) -> str:
        return look_up(word, lang="en") if _ENGLISH.fullmatch(word) else word

    return lemma
