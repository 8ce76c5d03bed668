"""rootlm data show FOLDER [samples=3] [split=train] [seed=0]

Shows what a corpus holds: counts by split, language and source, what every step did, documents drawn at
random, and examples of what was dropped with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.text.corpus import Corpus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Settings(Config):
    """What to show."""

    corpus: str
    """The folder that rootlm data prepare wrote."""
    samples: Annotated[int, Field(ge=0)] = 3
    """Documents drawn from each split, and examples of each reason for a drop."""
    split: str | None = None
    """Show documents of this split only."""
    seed: int = 0
    """Another seed draws other documents."""
    characters: Annotated[int, Field(gt=0)] = 160
    """How much of each document is shown."""
    verify: bool = False
    """Compare every file with its checksum first."""


def run(tokens: list[str]) -> None:
    """Print counts, samples and drops of a corpus."""
    settings, _ = parse(tokens, Settings, ["corpus"])
    corpus = Corpus.open(Path(settings.corpus), verify=settings.verify)
    console = new_console()
    print_summary(corpus, console)
    for split in (settings.split,) if settings.split else corpus.splits:
        console.print(
            f"\n[bold]{split}[/], {settings.samples} of {corpus.counts(split).documents:,} documents"
        )
        for document in corpus.sample(split, settings.samples, settings.seed):
            language = document.meta.get("language", "")
            console.print(f"  {document.source} {language}", style="cyan", markup=False)
            console.print(f"    {_excerpt(document.text, settings.characters)}", markup=False)
    _print_dropped(corpus, settings, console)
    console.print(f"\nmanifest: {corpus.folder / 'manifest.json'}   fingerprint: {corpus.fingerprint[:16]}")


def new_console() -> Console:
    """Return a console that never wraps a line, and that is wide where there is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=160)


def print_summary(corpus: Corpus, console: Console) -> None:
    """Print what every step did and what each split holds."""
    console.print(_steps(corpus.manifest["steps"]))
    console.print(_splits(corpus))
    console.print(_sources(corpus))


def _print_dropped(corpus: Corpus, settings: Settings, console: Console) -> None:
    shown: dict[tuple[str, str], int] = {}
    for example in corpus.dropped():
        key = (example["step"], example["reason"])
        shown[key] = shown.get(key, 0) + 1
        if shown[key] > settings.samples:
            continue
        if shown[key] == 1:
            console.print(f"\ndropped by {key[0]}: {key[1]}", style="bold", markup=False)
        same = f" = {example['duplicate_of']}" if "duplicate_of" in example else ""
        console.print(f"  {example['source']}{same}", style="cyan", markup=False)
        if example["text"]:
            console.print(f"    {_excerpt(example['text'], settings.characters)}", markup=False)


def _steps(steps: list[dict[str, Any]]) -> Table:
    table = _table("step", "read", "changed", "dropped", "kept", "why dropped")
    for step in steps:
        reasons = "\n".join(f"{count:,} {reason}" for reason, count in step["dropped"].items())
        dropped = sum(step["dropped"].values())
        numbers = (f"{step[name]:,}" if step[name] else "·" for name in ("read", "changed"))
        _add_row(
            table, step["step"], *numbers, f"{dropped:,}" if dropped else "·", f"{step['kept']:,}", reasons
        )
    return table


def _splits(corpus: Corpus) -> Table:
    table = _table("split", "documents", "MB", "characters", "languages")
    for split in corpus.splits:
        counts = corpus.counts(split)
        languages = corpus.manifest["splits"][split]["languages"]
        largest = sorted(languages, key=lambda name: -languages[name]["bytes"])
        shares = ", ".join(f"{name} {_share(languages[name]['bytes'], counts.bytes)}" for name in largest[:5])
        more = f", {len(largest) - 5} more" if len(largest) > 5 else ""
        _add_row(
            table,
            split,
            f"{counts.documents:,}",
            f"{counts.bytes / 1e6:,.2f}",
            f"{counts.characters:,}",
            shares + more,
        )
    return table


def _sources(corpus: Corpus) -> Table:
    table = _table("source", "read", *corpus.splits, "licence", "encodings")
    reading = {entry["name"]: entry for entry in corpus.manifest["reading"]}
    for source in corpus.manifest["sources"]:
        name = source["name"]
        by_split = [corpus.manifest["splits"][split]["sources"].get(name, {}) for split in corpus.splits]
        documents = [f"{entry.get('documents', 0):,}" for entry in by_split]
        encodings = ", ".join(reading[name]["encodings"])
        _add_row(table, name, f"{reading[name]['read']:,}", *documents, source["licence"], encodings)
    return table


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        words = name in ("step", "split", "source", "why dropped", "languages", "licence", "encodings")
        table.add_column(name, justify="left" if words else "right")
    return table


def _add_row(table: Table, *cells: str) -> None:
    """Add cells as they stand: a name may hold what looks like a style."""
    from rich.markup import escape

    table.add_row(*map(escape, cells))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if part >= 0.001 * whole else "<0.1%"


def _excerpt(text: str, characters: int) -> str:
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= characters else line[:characters] + " …"
