"""usage: rootlm quickstart [out=FOLDER] [key=value …]

Prepares the shipped text, trains a tokenizer and a decoder, scores it, lets it speak and writes a report, in under
five minutes on two cores. The same command goes on after an interruption. Keys of the recipe can be set, such as
training.max_steps=200.
"""

from pathlib import Path

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipe."""

    out: str = "rootlm-quickstart"
    """The folder for corpus and model."""


def run(tokens: list[str]) -> int | None:
    """Do the main job."""
    from rootlm.runs.main_job import quickstart
    from rootlm.runs.recipe import Recipe

    settings, overrides = parse(tokens, Settings, rest=Recipe)
    quickstart(Path(settings.out), overrides, lambda text: print(text, flush=True))
    return None
