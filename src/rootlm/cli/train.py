"""usage: rootlm train RECIPE out=RUN [key=value …]

RECIPE is a YAML file or the name of a shipped recipe; every key of it can be set here, as model.depth=4 or
--model.depth 4. The same command again goes on where the run stopped. With torchrun before it, several workers
train one model.
"""

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipe."""

    recipe: str
    """A YAML file, or one of the shipped recipes."""
    part: float = Field(1.0, gt=0, le=1)
    """Pause, validated and saved, after this share of the steps; the same command without it goes on."""
    dry_run: bool = False
    """Print the resolved recipe with parameters, memory, steps, tokens, time and disk; train nothing."""


def run(tokens: list[str]) -> int | None:
    """Train, or say what training would take."""
    from rootlm.runs.recipe import Recipe, read_recipe

    settings, overrides = parse(tokens, Settings, ["recipe"], rest=Recipe)
    recipe = read_recipe(settings.recipe, overrides)
    if settings.dry_run:
        from rootlm.runs.preflight import preflight

        print(preflight(recipe))
        return None
    from rootlm.runs.fitting import train

    train(recipe, part=settings.part)
    return None
