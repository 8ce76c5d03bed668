"""What a preparation refuses because nothing would come of it, or too much."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rootlm.text.pipeline.leaf import Leaf
from rootlm.text.raw.rawfile import shown, suffix
from rootlm.text.settings import Prepare
from rootlm.text.sources import Origin
from rootlm.text.tally import Tally

_MAY_HOLD_TEXT = {".txt", ".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"}
_GROUPED_BYTES, _UNITED_BYTES = 170, 240


def refuse_no_label(settings: Prepare, leaves: Sequence[Leaf]) -> None:
    """Refuse a key to stratify by that no document has."""
    key = settings.split.stratify
    if key is not None and {name for leaf in leaves for name in leaf.summary["strata"]} <= {""}:
        raise ValueError(
            f"split.stratify={key}: no document has {key} in its meta; name a key that they have"
        )


def refuse_no_group(settings: Prepare, leaves: Sequence[Leaf]) -> None:
    """Refuse a key to keep together by that no document has."""
    key = settings.split.together
    if key is not None and not any(leaf.records()["together"].any() for leaf in leaves):
        raise ValueError(
            f"split.together={key}: no document has {key} in its meta; name a key that they have"
        )


def refuse_idle_cutting(settings: Prepare, origins: Sequence[Origin]) -> None:
    """Refuse to be told how .txt is cut where there is none: whoever says it believes that it does something."""
    own = [[origin] for origin in origins if origin.source.read]
    shared = [origin for origin in origins if not origin.source.read]
    for together in (*own, shared):
        how = ((together and together[0].source.read) or settings.read).documents
        kinds = {suffix(shown(file)) for origin in together for file in origin.files}
        if how != "file" and kinds and not kinds & _MAY_HOLD_TEXT:
            raise ValueError(
                f"{together[0].source.path}: read.documents={how} says how .txt is cut, and here is only "
                f"{', '.join(sorted(kinds))}; leave it out"
            )


def refuse_too_many(documents: int, settings: Prepare) -> None:
    """Keep the promise on memory: groups and splits of all documents are drawn at once, by one process."""
    each = _GROUPED_BYTES + (_UNITED_BYTES if settings.split.together else 0)
    needed = math.ceil(documents * each / 1e6)
    if needed > settings.memory_megabytes:
        raise ValueError(
            f"{documents:,} documents cannot be grouped and split in {settings.memory_megabytes} MB; what was read is "
            f"kept: run again with memory_megabytes={needed}, or prepare the sources apart"
        )


def refuse_nothing(tally: Tally, documents: int, settings: Prepare) -> None:
    """Refuse a corpus without documents, and say what became of them."""
    if documents:
        return
    places = ", ".join(source.path for source in settings.sources[:3])
    if tally.read == 0:
        raise ValueError(f"{places}: no document found; the files hold nothing but blank lines")
    reasons = ", ".join(
        f"{step}: {reason} ({count})" for (step, reason), count in tally.dropped.most_common(3)
    )
    raise ValueError(
        f"{places}: nothing is left of {tally.read:,} documents; {reasons}; "
        "change that step's settings or leave it out with STEP=null"
    )
