"""rootlm data words PATH… out=FILE [sentences=true] [stop_words=true] [part_of_speech=true] [dictionary=FILE]

Writes the words of files, folders and corpora, a document or a sentence on each line with spaces between the
words: what a classical model or a linguist reads. Chinese is cut into words, English stays as it is written.
Where out is called .jsonl, each line is an object with source, words, tags and lemmas; .zst packs it. A line of a
dictionary or a list that is rejected stops the work, naming file, line and reason, or with read.on_error=skip is
left out and listed.

  rootlm data words corpora/mine out=words.txt stop_words=true punctuation=false
  rootlm data words news.jsonl.gz out=tagged.jsonl sentences=true part_of_speech=true lemmas=true
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.text.raw.faults import Faults
from rootlm.text.words.word_writing import WordWriting, write

if TYPE_CHECKING:
    from rich.console import Console


class Verb(Config):
    """The verb's own words."""

    paths: tuple[str, ...] = ()
    """Files, folders, globs, or folders that rootlm data prepare wrote."""
    out: str
    """The file to write."""
    overwrite: bool = False
    """Replace the file that is there."""


class Settings(WordWriting, Verb):
    """All that can be set."""


def run(tokens: list[str]) -> None:
    """Write the words and print how many there are."""
    from rootlm.cli.data_show import new_console

    settings, _ = parse(tokens, Settings, ["paths*"])
    console = new_console()

    def notice(text: str) -> None:
        console.print(text, style="dim", markup=False)

    faults = Faults(settings.read.on_error, notice)
    out = Path(settings.out)
    written = write(settings, settings.paths, out, faults, settings.overwrite)
    if settings.dictionary:
        console.print(f"{settings.dictionary}: {written.taught:,} words stay whole", markup=False)
    _print_faults(faults, console)
    console.print(
        f"{out}: {written.documents:,} documents, {written.lines:,} lines, {written.words:,} words",
        markup=False,
    )


def _print_faults(faults: Faults, console: Console) -> None:
    for reason, count in sorted(faults.counts.items()):
        console.print(f"left out: {count:,} × {reason}", markup=False)
        for example in faults.examples[reason]:
            console.print(f"  {example}", style="cyan", markup=False)
