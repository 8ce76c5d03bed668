"""usage: rootlm find-rate RECIPE corpus=FOLDER [low=1e-6] [high=1] [steps=100] [key=value …]

Trains a recipe for a few steps while the learning rate rises, and says which rate to train with. All rates of an
optimizer rise together. Nothing is kept but a page with the curve.
"""

from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, Override


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipe."""

    recipe: str
    """A YAML file, or one of the shipped recipes."""
    low: float = Field(1e-6, gt=0)
    """The first rate."""
    high: float = Field(1.0, gt=0)
    """The last rate."""
    steps: int = Field(100, ge=10)
    """Steps from one to the other."""
    page: str = "find-rate.html"
    """Where the curve is written."""


def run(tokens: list[str]) -> int | None:
    """Sweep."""
    from rootlm.runs.recipe import Recipe, read_recipe

    settings, overrides = parse(tokens, Settings, ["recipe"], rest=Recipe)
    from rootlm.runs.rate_finder import Sweep, find_rate, sentence, table, write_page

    own = [Override("out", settings.page), Override("training.max_steps", settings.steps)]
    own += [Override(f"training.{key}", None) for key in ("minutes", "epochs")]
    recipe = read_recipe(settings.recipe, [*overrides, *own])
    found = find_rate(recipe, Sweep(low=settings.low, high=settings.high, steps=settings.steps))
    write_page(found, recipe, Path(settings.page))
    print(f"{table(found)}\n\n{sentence(found)}\nthe page: {settings.page}")
    return None
