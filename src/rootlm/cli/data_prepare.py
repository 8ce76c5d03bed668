"""rootlm data prepare PATH… out=FOLDER [recipe=FILE] [key=value …]

Reads files, folders and globs (text, JSON lines, tables, pages, books, PDF, archives, dumps; each also packed),
cleans them, drops what is hardly text and what was read before, splits the rest into train, validation and test,
and writes a corpus with a manifest. The same command again goes on where it was interrupted, or finds the corpus
made. A recipe is a YAML file with the same keys, in which `sources` may give each path a name, a licence and an
origin.

  rootlm data prepare poems/ news.jsonl.gz read.text_key=content out=corpora/mine
  rootlm data prepare book.txt read.documents=paragraph quality.min_characters=5 out=corpora/book
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, Override, load
from rootlm.text.prepare import Where, prepare
from rootlm.text.settings import Prepare


class Verb(Config):
    """The verb's own words."""

    paths: tuple[str, ...] = ()
    """Files, folders or globs; each becomes a source with its own name."""
    out: str
    """The folder of the corpus."""
    recipe: str | None = None
    """A YAML file with settings; the command line overrides it."""
    overwrite: bool = False
    """Replace the corpus that is in the folder."""
    engine: Where = "local"
    """Where the work is done: the cores of this machine, or Ray Data (extra `ray`); the result is the same."""


class Settings(Prepare, Verb):
    """All that can be set."""


def run(tokens: list[str]) -> None:
    """Prepare a corpus and print what became of the text."""
    own, overrides = parse(tokens, Verb, ["paths*"], rest=Prepare)
    recipe = Path(own.recipe) if own.recipe else None
    if own.paths:
        if recipe is not None and load(Prepare, recipe).sources:
            raise ValueError(
                f"{recipe} names sources and so does the command line; leave the paths out, "
                "or write them into the recipe"
            )
        sources: list[dict[str, Any]] = [{"path": path} for path in own.paths]
        overrides.append(Override("sources", sources))
    settings = load(Prepare, recipe, overrides)
    from rootlm.cli import data_show

    console = data_show.new_console()

    def say(text: str) -> None:
        console.print(text, style="dim", markup=False)

    corpus = prepare(settings, Path(own.out), say, own.overwrite, engine=own.engine)
    data_show.print_summary(corpus, console)
    console.print(f"\nlook at it:        rootlm data show {own.out}", markup=False)
    next_words = f"rootlm tokenizer train {own.out} out=tokenizers/{Path(own.out).name}"
    console.print(f"train a tokenizer: {next_words}", markup=False)
