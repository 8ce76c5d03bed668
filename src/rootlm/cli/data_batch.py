"""usage: rootlm data batch RECIPE [step=N] [row=N] [key=value …]

Prints what the model would read and be asked in one row of a step: every token, its segment, the target and the
target's weight in the loss.
"""

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipe."""

    recipe: str
    """A YAML file, or one of the shipped recipes."""
    step: int = Field(0, ge=0)
    """Which step's batch."""
    row: int = Field(0, ge=0)
    """Which row of it."""


def run(tokens: list[str]) -> int | None:
    """Print a row token by token."""
    from rootlm.runs.batch_view import batch_table
    from rootlm.runs.recipe import Recipe, read_recipe

    settings, overrides = parse(tokens, Settings, ["recipe"], rest=Recipe)
    recipe = read_recipe(settings.recipe, overrides)
    print(batch_table(recipe, step=settings.step, row=settings.row))
    return None
