"""Models of any kind on one scale: trained on one corpus, scored on the same documents, with what each has cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from rootlm.core import config, records
from rootlm.core.config import Config, Override
from rootlm.core.files import read_json
from rootlm.core.run_report import total_seconds
from rootlm.evaluation.diversity import Diversity, diversity
from rootlm.evaluation.figures import Evaluation, compare
from rootlm.evaluation.intervals import Interval
from rootlm.generation.sampling import Sampling
from rootlm.models.catalog import CONFIG, WEIGHTS
from rootlm.models.interface import LanguageModel
from rootlm.runs.apart import train_apart
from rootlm.runs.course import METRICS
from rootlm.runs.fitting import RECIPE, REQUEST
from rootlm.runs.opened import load
from rootlm.runs.recipe import Recipe, read_recipe
from rootlm.runs.run import Run
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document

Say = Callable[[str], None]
_OPENING_CHARACTERS = 12
"""And no more than half a line: what follows a whole line is often the end."""


class Comparing(Config):
    """What all models are asked for."""

    split: str = "test"
    """The split that is scored."""
    prompts: list[str] = Field(default_factory=list)
    """Texts that every model continues; none takes the first words of `openings` held-out documents."""
    openings: int = Field(4, ge=1)
    """How many held-out documents lend their first words."""
    texts: int = Field(8, ge=1)
    """Texts that each model writes after each prompt."""
    sampling: Sampling = Sampling(max_new_tokens=100, temperature=0.8, top_p=0.95)
    """How tokens are chosen."""
    seed: int = 0
    """Draws the samples, and the resamples of the intervals."""
    device: str = "auto"
    """Where models are scored: auto, cpu, cuda, cuda:1, … or mps."""


@dataclass(frozen=True)
class Entrant:
    """A model that is compared: its name, its run folder, and the recipe where it is not a finished run."""

    name: str
    folder: Path
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Costs:
    """What a model has cost, from its own run's records; None where the run did not say."""

    parameters: int | None
    seconds: float | None
    """Of training steps, all sessions together; looks at held-out text are not counted."""
    tokens_per_second: float | None
    """Tokens read ÷ these seconds."""
    joules: float | None
    """Of all sessions, looks and samples included."""
    joules_source: str
    disk_bytes: int
    """Config, weights and tokenizer."""
    peak_memory_mb: int | None
    """The highest of all sessions, above what the process held before."""


@dataclass(frozen=True)
class Standing:
    """How one model stands."""

    name: str
    folder: Path
    kind: str
    evaluation: Evaluation
    bits: Interval
    """Bits per byte."""
    costs: Costs
    texts: Sequence[Sequence[str]]
    """Its texts after each prompt."""
    diversity: Diversity
    remarks: Sequence[str]


@dataclass(frozen=True)
class Comparison:
    """All models on the same documents, the best first."""

    corpus: Corpus
    asked: Comparing
    prompts: Sequence[str]
    standings: Sequence[Standing]

    def gaps(self) -> list[Interval]:
        """Return by how many bits per byte each model is above the one before it, in pairs of documents."""
        pairs = zip(self.standings, self.standings[1:], strict=False)
        return [compare(worse.evaluation, better.evaluation, self.asked.seed) for better, worse in pairs]

    def to_plain(self) -> dict[str, Any]:
        """Return all figures as JSON-ready data."""
        gaps: list[Interval | None] = [None, *self.gaps()]
        return {
            "corpus": str(self.corpus.folder),
            "fingerprint": self.corpus.fingerprint,
            "split": self.asked.split,
            "prompts": list(self.prompts),
            "models": [
                {
                    "name": one.name,
                    "folder": str(one.folder),
                    "kind": one.kind,
                    **one.evaluation.to_plain(self.asked.seed),
                    "above_the_one_before": None if gap is None else asdict(gap),
                    "costs": asdict(one.costs),
                    "diversity": asdict(one.diversity),
                    "texts": [list(texts) for texts in one.texts],
                    "remarks": list(one.remarks),
                }
                for one, gap in zip(self.standings, gaps, strict=True)
            ],
        }


def entrants(
    names: Iterable[str], out: Path, overrides: Sequence[Override] = (), minutes: float | None = None
) -> list[Entrant]:
    """Tell runs from recipes: a folder with a `config.json` is a run, all else a recipe's file or its shipped name.

    Every recipe trains into a folder of `out` that is called as it is, for `minutes` if given. Raises ValueError for
    two of one name.
    """
    found: list[Entrant] = []
    for name in names:
        path = Path(name)
        if (path / CONFIG).is_file():
            found.append(Entrant(path.resolve().name, path))
            continue
        if path.is_dir():
            raise ValueError(f"{path}: holds no {CONFIG}, so it is no finished run; name a run or a recipe")
        own = [*overrides, Override("out", str(out / path.stem))]
        if minutes is not None:
            own += [Override(f"training.{key}", None) for key in ("max_steps", "epochs")]
            own.append(Override("training.minutes", minutes))
        found.append(Entrant(path.stem, out / path.stem, read_recipe(name, own)))
    seen: dict[str, Entrant] = {}
    for one in found:
        if one.name in seen:
            raise ValueError(
                f"{one.folder}: {seen[one.name].folder} is called {one.name} too; rename one of them"
            )
        seen[one.name] = one
    if not found:
        raise ValueError("there is nothing to compare; name recipes or finished runs")
    return found


def contest(
    listed: Sequence[Entrant],
    corpus: Corpus,
    asked: Comparing,
    say: Say,
    fit: Callable[[Recipe], Any] = train_apart,
) -> Comparison:
    """Train what is not trained yet, score all on the corpus's held-out documents and let each speak.

    `fit` trains a recipe, or goes on with it; in a process of its own, so that the memory of one model does not hide
    that of the next. Raises ValueError naming a model that cannot be scored as text, before
    anything is trained; KeyboardInterrupt when a signal stopped a run.
    """
    for one in listed:
        _check_speaks(one)
    documents = list(corpus.documents(asked.split))
    prompts = asked.prompts or _openings(corpus, asked)
    for number, one in enumerate(listed, 1):
        if one.recipe is not None:
            say(f"{number} of {len(listed)}: {one.name}")
            fit(one.recipe)
    standings = []
    for one in listed:
        say(f"scoring {one.name}")
        standings.append(_standing(one, corpus, documents, prompts, asked))
    standings.sort(key=lambda standing: standing.bits.value)
    return Comparison(corpus, asked, prompts, standings)


def corpus_of(listed: Sequence[Entrant]) -> str:
    """Return the corpus that all these models were made from; raises ValueError when there is no single one."""
    named = {_corpus(one) for one in listed}
    if len(named) != 1 or None in named:
        raise ValueError("the models do not name one corpus that all have read; set corpus=FOLDER")
    return str(named.pop())


def costs(folder: Path) -> Costs:
    """Return what a run has cost, from its records."""
    held = records.read(folder / METRICS) if (folder / METRICS).exists() else []
    starts, ends = records.of_kind(held, "start"), records.of_kind(held, "end")
    seconds = total_seconds(held) or None
    tokens = max((record["tokens"] for record in held if record.get("tokens")), default=None)
    joules = [end["energy_joules"] for end in ends if end.get("energy_joules") is not None]
    kept = [file for file in folder.glob("tokenizer*.json") if file.is_file()]
    kept += [folder / CONFIG, folder / WEIGHTS]
    return Costs(
        starts[-1]["parameters"] if starts else None,
        seconds,
        tokens / seconds if tokens and seconds else None,
        sum(joules) if joules else None,
        str(ends[-1].get("energy_source", "")) if ends else "",
        sum(file.stat().st_size for file in kept),
        max((end["peak_memory_mb"] for end in ends if end.get("peak_memory_mb")), default=None),
    )


def _standing(
    one: Entrant, corpus: Corpus, documents: Sequence[Document], prompts: Sequence[str], asked: Comparing
) -> Standing:
    run = load(one.folder, device=asked.device, precision="float32")
    try:
        evaluation = run.evaluate(documents)
    except ValueError as error:
        raise ValueError(f"{one.name}: cannot be scored; leave it out ({error})") from error
    texts = _texts(run, prompts, asked)
    paid = costs(one.folder)
    if paid.parameters is None:
        paid = replace(paid, parameters=run.model.n_parameters())
    return Standing(
        one.name,
        one.folder,
        run.model.config.kind,
        evaluation,
        evaluation.bits_per_byte(asked.seed),
        paid,
        texts,
        diversity([text for several in texts for text in several]),
        _remarks(one, corpus, evaluation),
    )


def _texts(run: Run, prompts: Sequence[str], asked: Comparing) -> list[list[str]]:
    settings = asked.sampling.model_copy(update={"n": asked.texts, "seed": asked.seed})
    return [[one.text for one in several] for several in run.writer_by(settings).generate(prompts, settings)]


def _remarks(one: Entrant, corpus: Corpus, evaluation: Evaluation) -> list[str]:
    """Return what a reader must know before believing a model's figure."""
    remarks: list[str] = []
    read = read_json(one.folder / REQUEST).get("corpora") if (one.folder / REQUEST).exists() else None
    if read is None:
        remarks.append("does not say what it was trained on: it may have read the documents that are scored")
    elif corpus.fingerprint not in read:
        remarks.append("was trained on another corpus: it may have read the documents that are scored")
    lost = int(evaluation.lost_bytes.sum())
    if lost:
        share = lost / float(evaluation.bytes.sum())
        remarks.append(f"its tokenizer loses {share:.2%} of the bytes, which cost 8 bits each")
    return remarks


def _check_speaks(one: Entrant) -> None:
    """Raise ValueError for a model that gives no probability to a text."""
    recipe = one.recipe
    if recipe is None:
        _ = load(one.folder, device="cpu").language_model
        recipe = _recipe_of(one.folder)
    if recipe is None:
        return
    if not recipe.objective.measures_text:
        raise ValueError(
            f"{one.name}: model.kind {recipe.model.kind} with objective.kind {recipe.objective.kind} gives no "
            "probability to a text, so it has no bits per byte; leave it out"
        )
    with torch.device("meta"):
        model = recipe.model.build(2)
    if not isinstance(model, LanguageModel):
        raise ValueError(
            f"{one.name}: model.kind {recipe.model.kind} predicts no next token, so it has no bits per byte; "
            "leave it out"
        )


def _recipe_of(folder: Path) -> Recipe | None:
    return config.load(Recipe, folder / RECIPE) if (folder / RECIPE).exists() else None


def _corpus(one: Entrant) -> str | None:
    recipe = one.recipe or _recipe_of(one.folder)
    return recipe.corpus if recipe is not None and isinstance(recipe.corpus, str) else None


def _openings(corpus: Corpus, asked: Comparing) -> list[str]:
    """Return the beginnings of some held-out documents, of one line each."""
    drawn = corpus.sample(asked.split, asked.openings, asked.seed)
    first = (document.text.strip().partition("\n")[0] for document in drawn)
    return list(dict.fromkeys(_opening(line) for line in first if line))


def _opening(line: str) -> str:
    """Return the first words of a line.

    >>> _opening("To be, or not to be, that is the question"), _opening("床前明月光，疑是地上霜。举")
    ('To be, or', '床前明月光，疑')
    """
    short = line[: min(_OPENING_CHARACTERS, -(-len(line) // 2))]
    return short.rpartition(" ")[0] or short
