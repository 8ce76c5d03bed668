"""The data card of a corpus, as dataset hubs read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from rootlm.core import files
from rootlm.text.corpus import Corpus
from rootlm.text.corpus_tables import bytes_by_language, cautions, reasons, sources, steps
from rootlm.text.steps.language import UNKNOWN

CARD = "card.md"


def card(corpus: Corpus, path: Path) -> Path:
    """Write the data card of a corpus: Markdown under the YAML header that dataset hubs read."""
    manifest = corpus.manifest
    totals = [corpus.counts(split) for split in corpus.splits]
    languages = bytes_by_language(corpus)
    licences = sorted({source["licence"] for source in manifest["sources"]})
    known = [name for name in languages if name != UNKNOWN]
    header = {
        "language": sorted(known, key=lambda name: -languages[name])[:8],
        "license": licences[0].lower() if len(licences) == 1 else "other",
        "size_categories": [_size_category(sum(total.documents for total in totals))],
        "task_categories": ["text-generation"],
    }
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        f"# {corpus.folder.resolve().name}",
        "",
        f"{sum(t.documents for t in totals):,} documents, {sum(t.bytes for t in totals) / 1e6:,.1f} MB of text, "
        f"prepared with rootlm {manifest['rootlm']}. Fingerprint: `{corpus.fingerprint}`.",
        "",
        "## Splits",
        "",
        *_markdown(
            ["split", "documents", "bytes", "characters"],
            [[name, *(f"{value:,}" for value in corpus.counts(name))] for name in corpus.splits],
        ),
        "## Sources",
        "",
        *_markdown(
            ["source", "licence", "origin", "files", "MB", "read", "kept", "encodings"], sources(corpus)
        ),
        "## What was done",
        "",
        *_markdown(["step", "read", "changed", "dropped", "kept"], steps(manifest)),
        *_markdown(["step", "reason", "documents", "of all read"], reasons(manifest)),
        "## What to bear in mind",
        "",
        *[f"- {notice.text}" for notice in cautions(corpus)],
        "- Near-duplicates are held in one split, so validation and test repeat nothing of the training text.",
        "",
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(manifest["settings"], sort_keys=False, allow_unicode=True).rstrip(),
        "```",
        "",
    ]
    files.write_text(path, "\n".join(lines))
    return path


def _size_category(documents: int) -> str:
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")
    return next((name for power, name in enumerate(names[:-1], 3) if documents < 10**power), names[-1])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]
