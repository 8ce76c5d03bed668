"""usage: rootlm crossval RECIPE k=5 corpus=FOLDER out=FOLDER [together=KEY] [key=value …]

Trains the recipe k times, each time with another part of the training documents held out, and scores each run on its
part. Documents that say the same are in one part. The same command again goes on where it stopped.
"""

from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, Override


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipe."""

    recipe: str
    """A YAML file, or one of the shipped recipes."""
    k: int = Field(5, ge=2)
    """How many parts."""
    out: str = "crossval"
    """The folder for the runs and the page."""
    together: str | None = None
    """A key of meta, such as a page or an author: documents with the same value are in one part."""
    seed: int = 0
    """Another seed, other parts."""


def run(tokens: list[str]) -> int | None:
    """Cross-validate."""
    from rootlm.runs.recipe import Recipe, read_recipe

    settings, overrides = parse(tokens, Settings, ["recipe"], rest=Recipe)
    from rootlm.runs.cross_validation import PAGE, cross_validate, table
    from rootlm.text.folds import FoldConfig

    recipe = read_recipe(settings.recipe, [*overrides, Override("out", settings.out)])
    folds = FoldConfig(of=settings.k, together=settings.together, seed=settings.seed)
    found = cross_validate(recipe, Path(settings.out), folds, lambda text: print(text, flush=True))
    print(f"\n{table(found)}\n\n{found.sentence}\nthe page: {Path(settings.out) / PAGE}")
    return None
