"""The README beside an export: what it is, how it is used, how much it differed, and the run's own card below."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rootlm.core.files import write_text

CARD = "README.md"


@dataclass(frozen=True)
class Told:
    """What a card says of an export."""

    library: str
    """Whose it is, as model hubs name it."""
    what: str
    """One sentence."""
    commands: tuple[str, ...]
    """How it is used, a line each."""
    proof: str
    """What was compared, and how much differed."""
    task: str = "text-generation"
    """What it does, as model hubs name it, where the run's own card does not say."""


def write_card(folder: Path, run: Path, name: str, told: Told, *, seen: bool = True) -> None:
    """Write the card; `seen` says whether another library has opened the export."""
    front, body = card_of(run)
    task = next((line for line in front if line.startswith("pipeline_tag:")), f"pipeline_tag: {told.task}")
    kept = [line for line in front if not line.startswith(("library_name:", "pipeline_tag:"))]
    lines = ["---", f"library_name: {told.library}", task, *kept, "---", "", f"# {name}", "", told.what]
    lines += ["", "```", *told.commands, "```", "", "## The same outside as inside", "", told.proof]
    if not seen:
        lines += ["", "The library was not installed where it was written, so it has not seen it yet."]
    if body:
        lines += ["", "## From the run", "", body]
    write_text(folder / CARD, "\n".join(lines) + "\n")


def card_of(run: Path) -> tuple[list[str], str]:
    """Return the front matter and the text of a run's own card, without its title; nothing where there is none."""
    own = run / CARD
    before = own.read_text(encoding="utf-8") if own.is_file() else ""
    _, front, body = before.split("---\n", 2) if before.startswith("---\n") else ("", "", before)
    told = [line for line in body.strip().splitlines() if not line.startswith("# ")]
    return front.splitlines(), "\n".join(told).strip()
