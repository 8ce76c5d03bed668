"""usage: rootlm quickstart [out=FOLDER] [key=value …]

Prepares the shipped text, learns a tokenizer, trains three generations of language models (a 5-gram, an LSTM and a
decoder), compares them on text that none has seen and lets the decoder speak, in under five minutes on two cores. The
same command goes on after an interruption. Keys of the decoder's recipe can be set, such as training.max_steps=200;
the LSTM is then cut as short.
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
