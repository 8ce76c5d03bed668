"""usage: rootlm search RECIPE ranges=search.yaml [trials=9] [method=random] corpus=FOLDER out=FOLDER [key=value …]

Trains trials of a recipe with settings drawn from ranges and keeps the best on the validation split, by successive
halving. The file of ranges says for each key what to draw from:

    training.optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}
    model.depth: [2, 4, 6]

Ends in a table, search.html, and best.yaml: the best trial's recipe. The same command again goes on.
"""

from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipe."""

    recipe: str
    """A YAML file, or one of the shipped recipes."""
    ranges: str
    """A YAML file of ranges."""
    out: str = "search"
    """The folder for the trials and the page."""
    method: str = "random"
    """random, or grid: every combination."""
    trials: int = 9
    """How many are drawn at random."""
    halving: int | None = 3
    """Keep the best of so many at each rung; null trains every trial to its end."""
    least: float = Field(0.1, gt=0, le=1)
    """The first rung takes at least this share of a trial's steps."""
    seed: int = 0
    """Another seed, other trials."""


def run(tokens: list[str]) -> int | None:
    """Search."""
    from rootlm.runs.recipe import Recipe

    settings, overrides = parse(tokens, Settings, ["recipe"], rest=Recipe)
    from rootlm.core.config import to_plain, validate
    from rootlm.runs.search_page import save, sentence, terminal_table
    from rootlm.runs.settings_search import BEST, Base, Searching, read_ranges, search

    plain = to_plain(settings)
    how = validate(Searching, {name: plain[name] for name in Searching.model_fields})
    out = Path(settings.out)
    ranges = read_ranges(Path(settings.ranges))
    trials = search(Base(settings.recipe, overrides), ranges, out, how, lambda text: print(text, flush=True))
    page = save(trials, out)
    print(f"\n{terminal_table(trials)}\n\n{sentence(trials)}\nits recipe: {out / BEST}\nthe page: {page}")
    return None
