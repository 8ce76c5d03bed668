"""Are the vectors as good as gensim's? python -m benchmarks.vector_quality text=FILE folder=FOLDER [seeds=3]

Both sides learn the same text with the same settings and two threads, in a process of its own, with each seed, in
turns. Then both are asked the same: WordSim-353, SimLex-999 and Google's analogies, as gensim ships them. A difference
is the mean over seeds; its interval comes from resampling the questions, the same ones for both sides and all seeds.
The folder keeps the vectors: what is in it is not learned again.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import spearmanr

from benchmarks.contest import Contestant
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config
from rootlm.core.plain_table import plain_table

TASKS = ("skip-gram", "CBOW", "FastText skip-gram")
SIDES = ("rootlm", "gensim-file")
RATED = {"WordSim-353": "wordsim353.tsv", "SimLex-999": "simlex999.txt"}
ANALOGIES = "Google analogies"
_RESAMPLES = 1000
_WORST = -0.02

Reals = NDArray[np.float64]


class Settings(Config):
    text: str
    """The text to learn, a sentence on each line."""
    folder: str
    """Where vectors are kept."""
    tasks: tuple[str, ...] = TASKS
    """What to learn."""
    seeds: int = Field(3, gt=0)
    """How often, each time from another beginning."""
    epochs: int = Field(5, gt=0)
    """How often the text is read."""
    share_negatives: bool = False
    """Whether our side draws negatives once for all neighbours of a word."""
    cores: str = "0,1"
    """The cores that everybody is pinned to."""


class Answers(NamedTuple):
    """What one side says to one set of questions."""

    said: list[Reals]
    """For each seed: the cosine of each pair, or 1 where an analogy was solved."""
    right: Reals | None
    """What people said of the pairs; None for analogies."""

    def score(self, rows: NDArray[np.int64]) -> float:
        """Return Spearman's correlation or the share solved, of some questions, as the mean over seeds."""
        if self.right is None:
            return float(np.mean([one[rows].mean() for one in self.said]))
        return float(np.mean([spearmanr(one[rows], self.right[rows]).statistic for one in self.said]))


def learn(settings: Settings, task: str, side: str, seed: int) -> Path:
    """Return the file of vectors, learned if it is not there."""
    shared = "-shared" if settings.share_negatives and side == SIDES[0] else ""
    file = Path(settings.folder) / f"{task.replace(' ', '-')}{shared}-{side}-{seed}.bin"
    if not file.exists():
        words = {
            "text": settings.text, "task": task, "side": side, "seed": seed, "epochs": settings.epochs,
            "share_negatives": str(settings.share_negatives).lower(), "keep": file.with_suffix(".part"),
        }  # fmt: skip
        command = ("benchmarks.vectors", *(f"{key}={value}" for key, value in words.items()))
        numbers = Contestant(side, command, {"OMP_NUM_THREADS": "1"}, seconds_limit=7200).run(settings.cores)
        file.with_suffix(".part").rename(file)
        file.with_suffix(".json").write_text(json.dumps(numbers), encoding="utf-8")
        print(f"  {file.stem}: {numbers['words_per_second']:,.0f} words/s", flush=True)
    return file


def ask(files: list[Path]) -> dict[str, Answers]:
    """Ask the vectors of every seed everything."""
    from rootlm.evaluation.analogies import analogies
    from rootlm.evaluation.word_similarity import word_similarity
    from rootlm.runs.opened_vectors import vectors_of

    found = {name: Answers([], None) for name in (*RATED, ANALOGIES)}
    for file in files:
        vectors = vectors_of(str(file))
        for name, shipped in RATED.items():
            similar = word_similarity(vectors, of_gensim(shipped))
            found[name] = Answers([*found[name].said, similar.cosines], similar.scores)
        solved = analogies(vectors, of_gensim("questions-words.txt")).total.right
        found[ANALOGIES].said.append(solved.astype(np.float64))
    return found


def of_gensim(name: str) -> Path:
    """Return a file that gensim ships with its tests."""
    spec = find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("gensim is not installed; make test installs what is compared with")
    return Path(spec.submodule_search_locations[0]) / "test" / "test_data" / name


def compare(task: str, sides: tuple[dict[str, Answers], dict[str, Answers]]) -> list[list[str]]:
    """Return a row for each set of questions."""
    rows = []
    for name, mine in sides[0].items():
        theirs, count = sides[1][name], len(mine.said[0])
        assert len(theirs.said[0]) == count, "both sides know the same words"
        everything, generator = np.arange(count), np.random.default_rng(0)
        drawn = [
            mine.score(picked) - theirs.score(picked)
            for picked in generator.integers(0, count, (_RESAMPLES, count))
        ]
        ours, peer = mine.score(everything), theirs.score(everything)
        low, high = np.percentile(drawn, [2.5, 97.5])
        met = "yes" if ours - peer >= _WORST else "no"
        spread = f"{ours - peer:+.3f} ({low:+.3f} – {high:+.3f})"
        rows.append([task, name, f"{count:,}", f"{ours:.3f}", f"{peer:.3f}", spread, met])
    return rows


def main(settings: Settings) -> None:
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    for task in settings.tasks:
        files: dict[str, list[Path]] = {side: [] for side in SIDES}
        for seed in range(1, settings.seeds + 1):
            for side in SIDES:
                files[side].append(learn(settings, task, side, seed))
        rows += compare(task, (ask(files[SIDES[0]]), ask(files[SIDES[1]])))
    print(plain_table(["vectors", "questions", "known", "rootlm", "gensim", "difference", "≥ −0.02"], rows))


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(
            help_text(
                "python -m benchmarks.vector_quality", "word vectors beside gensim's", Settings, __doc__ or ""
            )
        )
        sys.exit()
    main(parse(sys.argv[1:], Settings)[0])
