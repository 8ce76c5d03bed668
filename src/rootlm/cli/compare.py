"""usage: rootlm compare RECIPE… [corpus=FOLDER] [minutes=5] [out=FOLDER] [key=value …]

Trains every recipe on one corpus and compares the models in bits per byte, on the same held-out documents. A RECIPE is
a YAML file, the name of a shipped recipe, or the folder of a finished run. Every recipe trains into a folder of its
own in out=; the same command again goes on where it stopped. Keys of a recipe, such as training.seed=3, are set in
all of them. Ends in a table, compare.html and compare.json.
"""

from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, Override


class Settings(Config):
    """What belongs to the verb; all other keys belong to the recipes."""

    models: list[str]
    """Recipes and finished runs."""
    corpus: str | None = None
    """The corpus that all are trained on and scored on; none takes the one that all name."""
    minutes: float | None = None
    """How long each recipe trains; none leaves it to the recipe."""
    out: str = "comparison"
    """The folder for the runs and the page."""
    split: str = "test"
    """Which held-out split is scored."""
    prompts: list[str] = Field(default_factory=list)
    """Texts that every model continues; none takes the first words of some held-out documents."""
    texts: int = 8
    """Texts that each model writes after each prompt."""
    seed: int = 0
    """Draws the samples and the resamples."""
    device: str = "auto"
    """Where models are scored."""


def run(tokens: list[str]) -> int | None:
    """Compare."""
    from rootlm.runs.recipe import Recipe

    settings, overrides = parse(tokens, Settings, ["models*"], rest=Recipe)
    from rootlm.runs.comparison import Comparing, contest, corpus_of, entrants
    from rootlm.runs.comparison_page import save, terminal_table, verdict
    from rootlm.text.corpus import Corpus

    out = Path(settings.out)
    if settings.corpus is not None:
        overrides = [*overrides, Override("corpus", settings.corpus)]
    listed = entrants(settings.models, out, overrides, settings.minutes)
    corpus = Corpus.open(Path(settings.corpus or corpus_of(listed)))
    shared = {name: getattr(settings, name) for name in ("split", "prompts", "texts", "seed", "device")}
    comparison = contest(listed, corpus, Comparing(**shared), lambda text: print(text, flush=True))
    page = save(comparison, out)
    print(f"\n{terminal_table(comparison)}\n\n{verdict(comparison)}\nthe page: {page}")
    return None
