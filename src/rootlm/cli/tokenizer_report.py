"""rootlm tokenizer report TOKENIZER CORPUS… [other=TOKENIZER] [key=value …]

Shows what a tokenizer does to text, by language: bytes per token, tokens per word (each Han character counts
as a word), unknown tokens, lost bytes, encoding speed, how much of the vocabulary is used, the longest
tokens, and how a few lines are cut. With `other`, a second tokenizer beside it.

  rootlm tokenizer report tokenizers/mine corpora/mine
  rootlm tokenizer report tokenizers/mine poems.txt other=gpt2/tokenizer.json
  rootlm tokenizer report cl100k_base.tiktoken poems.txt other=t5/spiece.model
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rootlm.tokenizers.tokenizer import Tokenizer
    from rootlm.tokenizers.tokenizer_measures import Measures


_PLAIN_WIDTH = 160


class Settings(Config):
    """What to look at, and on which text."""

    tokenizer: str
    """A folder with tokenizer.json or another library's files, or one file; a run's folder will do."""
    corpus: list[str] = Field(default_factory=list)
    """Folders that rootlm data prepare wrote, or files, folders and globs of text."""
    other: str | None = None
    """A second tokenizer to compare with."""
    split: str = "validation"
    """Which split of a corpus to read; one that the tokenizer did not learn from tells more."""
    sample_bytes: int = 10_000_000
    """Measure on at most this much text, drawn evenly."""
    longest: int = 12
    """How many of the longest tokens to show."""
    samples: int = 3
    """How many lines of each language to show cut."""
    bos: str | None = None
    """The token that begins a document, where the tokenizer's files do not tell."""
    eos: str | None = None
    """The token that ends a document, where the tokenizer's files do not tell."""
    pad: str | None = None
    """The token that fills a row, where the tokenizer's files name the end of a document for it."""
    pattern: str | None = None
    """How text is cut for a file of ranks: the name of an encoding, such as cl100k_base, or an expression."""


def run(tokens: list[str]) -> None:
    """Measure one or two tokenizers and print tables."""
    from rich.console import Console

    from rootlm.tokenizers.text_sample import documents, sample
    from rootlm.tokenizers.tokenizer_measures import longest_tokens, measure

    settings, _ = parse(tokens, Settings, ["tokenizer", "corpus*"])
    if not settings.corpus:
        raise ValueError("no text given: rootlm tokenizer report TOKENIZER CORPUS, a corpus folder or files")
    paths = [settings.tokenizer, *([settings.other] if settings.other else [])]
    tokenizers = {path: _load(path, settings) for path in paths}
    found = documents([Path(path) for path in settings.corpus], settings.split)
    texts = sample((document.text for document in found if document.text), settings.sample_bytes)
    if not texts:
        raise ValueError(f"{settings.corpus[0]}: no text in it to measure on")
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    measures = {path: measure(tokenizer, texts) for path, tokenizer in tokenizers.items()}
    for path, tokenizer in tokenizers.items():
        if tokenizer.origin is not None and tokenizer.origin.name != "tokenizer.json":
            console.print(f"read from {tokenizer.origin}", markup=False)
        console.print(_summary(path, tokenizer, measures[path]), markup=False)
    console.print(_languages(measures))
    for path, tokenizer in tokenizers.items():
        for name, shown in longest_tokens(tokenizer, settings.longest).items():
            if shown:
                console.print(f"longest tokens, {name} ({path}): " + "  ".join(shown), markup=False)
    _print_samples(console, tokenizers, texts, settings.samples)


def _load(path: str, settings: Settings) -> Tokenizer:
    from rootlm.tokenizers.tokenizer import Tokenizer

    said = {"bos": settings.bos, "eos": settings.eos, "pad": settings.pad, "pattern": settings.pattern}
    return Tokenizer.load(Path(path), **said)


def _summary(path: str, tokenizer: Tokenizer, measures: Measures) -> str:
    used = len(measures.used) / tokenizer.vocab_size
    kept = "loses no text" if tokenizer.lossless else "may lose text"
    return (
        f"{path}: {tokenizer.vocab_size:,} entries, {used:.0%} of them used here; {kept}; "
        f"encodes {measures.megabytes_per_second:.1f} MB/s; fingerprint {tokenizer.fingerprint[:16]}"
    )


def _languages(measures: Mapping[str, Measures]) -> Table:
    from rich import box
    from rich.table import Table

    columns = ("documents", "MB", "tokens", "bytes/token", "tokens/word", "unknown", "lost bytes")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("language")
    table.add_column("tokenizer")
    for name in columns:
        table.add_column(name, justify="right")
    first = next(iter(measures.values()))
    for language in sorted(first.by_language, key=lambda name: (-first.by_language[name].bytes, name)):
        for path, each in measures.items():
            tally = each.by_language[language]
            table.add_row(
                language,
                path,
                f"{tally.documents:,}",
                f"{tally.bytes / 1e6:,.2f}",
                f"{tally.tokens:,}",
                f"{tally.bytes_per_token:.3f}",
                f"{tally.fertility:.3f}",
                f"{tally.unknown_share:.2%}",
                f"{tally.lost_share:.2%}",
            )
    return table


def _print_samples(
    console: Console, tokenizers: Mapping[str, Tokenizer], texts: Sequence[str], count: int
) -> None:
    from rootlm.text.steps.language import language
    from rootlm.tokenizers.tokenizer_measures import segmented

    shown: dict[str, int] = {}
    for text in texts:
        name = language(text)
        shown[name] = shown.get(name, 0) + 1
        if name in ("zh", "en") and shown[name] <= count:
            for path, tokenizer in tokenizers.items():
                console.print(f"{name} ({path}): {segmented(tokenizer, text)}", markup=False)
