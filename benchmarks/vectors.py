"""Word vectors beside gensim and fastText: python -m benchmarks.vectors text=FILE [labelled=FILE] [cores=0,1]

The text has a sentence on each line and spaces between its words; the labelled one begins its lines with `__label__…`.
Everybody reads the text, counts its words and learns for the same epochs with the same settings and two threads, in a
process of its own, in turns, on the same cores. Compilation is left out: our side learns a small text first. gensim
takes its corpus_file or its sentences, whichever is faster here.

Peers: make test installs gensim, and fastText's own program in a folder of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from benchmarks import contest
from benchmarks.contest import Contest, Contestant, Figure, compared, median
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

    from rootlm.models.word_vectors import WordVectors

OURS = "rootlm"
TASKS = ("skip-gram", "CBOW", "FastText skip-gram", "classifier")
_COMMON = {"size": 100, "window": 5, "negatives": 5, "sample": 1e-3, "min_count": 5}
_RATES = {"skip-gram": 0.025, "CBOW": 0.05, "FastText skip-gram": 0.05}
_BUCKETS = 2_000_000


class Settings(Config):
    text: str = ""
    """The text to learn."""
    labelled: str = ""
    """The labelled text to learn; empty leaves the classifier out."""
    tasks: tuple[str, ...] = TASKS
    """What to measure."""
    epochs: int = Field(5, gt=0)
    """How often everybody reads the text."""
    share_negatives: bool = False
    """Whether our side draws negatives once for all neighbours of a word."""
    cores: str = "0,1"
    """The cores that everybody is pinned to."""
    rounds: int = Field(3, gt=0)
    """How often everybody runs, in turns."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""
    seed: int = 1
    """The beginning of all that is random."""
    keep: str = ""
    """For a process of one side: the file that takes its vectors, in word2vec's binary format."""
    side: str = ""
    """For a process of one side: rootlm, gensim-file, gensim-sentences or fasttext."""
    task: str = ""
    """For a process of one side: what it learns."""


def ours(settings: Settings, path: str) -> WordVectors:
    """Learn with rootlm."""
    from rootlm.runs.vectors_run import VectorsRecipe, learn
    from rootlm.training.word_vector_settings import ClassifierConfig, FastTextConfig, Word2VecConfig

    more: dict[str, Any] = {"epochs": settings.epochs, "threads": 2, "seed": settings.seed}
    model: Word2VecConfig | ClassifierConfig
    if settings.task == "classifier":
        model = ClassifierConfig(**more)
    else:
        more |= _COMMON | {
            "learning_rate": _RATES[settings.task],
            "share_negatives": settings.share_negatives,
        }
        if settings.task == "FastText skip-gram":
            model = FastTextConfig(**more, buckets=_BUCKETS)
        else:
            model = Word2VecConfig(**more, architecture="cbow" if settings.task == "CBOW" else "skip_gram")
    return learn(VectorsRecipe(corpus=(path,), model=model), lambda _: None)


def gensim(settings: Settings, path: str, whole: bool) -> KeyedVectors:
    """Learn with gensim, from the file or from sentences."""
    from gensim.models import FastText, Word2Vec
    from gensim.models.word2vec import LineSentence

    text = {"corpus_file": path} if whole else {"sentences": LineSentence(path)}
    more: dict[str, Any] = {} if settings.task != "FastText skip-gram" else {"bucket": _BUCKETS}
    kind = FastText if more else Word2Vec
    model = kind(
        **text,
        **more,
        vector_size=_COMMON["size"],
        window=_COMMON["window"],
        negative=_COMMON["negatives"],
        sample=_COMMON["sample"],
        min_count=_COMMON["min_count"],
        alpha=_RATES[settings.task],
        sg=int(settings.task != "CBOW"),
        epochs=settings.epochs,
        seed=settings.seed,
        workers=2,
    )
    return model.wv


def fasttext(settings: Settings, path: str) -> None:
    """Learn with fastText's own program."""
    # Its package and the one that tells languages share a name.
    sys.path.insert(0, str(Path(sys.prefix) / "fasttext"))
    import fasttext as program

    more: dict[str, Any] = {"epoch": settings.epochs, "thread": 2, "verbose": 0}
    if settings.task == "classifier":
        program.train_supervised(path, **more)
        return
    cut = (
        {"minn": 3, "maxn": 6, "bucket": _BUCKETS} if "FastText" in settings.task else {"minn": 0, "maxn": 0}
    )
    program.train_unsupervised(
        path,
        model="cbow" if settings.task == "CBOW" else "skipgram",
        dim=_COMMON["size"],
        ws=_COMMON["window"],
        neg=_COMMON["negatives"],
        t=_COMMON["sample"],
        minCount=_COMMON["min_count"],
        lr=_RATES[settings.task],
        **cut,
        **more,
    )


def side(settings: Settings) -> dict[str, float]:
    """Do one side's work once, warm, and return its pace."""
    path = settings.labelled if settings.task == "classifier" else settings.text
    if settings.side == OURS:
        with tempfile.TemporaryDirectory() as place:
            small = Path(place) / "small.txt"
            with Path(path).open("rb") as stream:
                small.write_bytes(b"".join(islice(stream, 2000)))
            ours(settings, str(small))
    words = len(Path(path).read_bytes().split())
    started, used = time.perf_counter(), time.process_time()
    learned: WordVectors | KeyedVectors | None = None
    if settings.side == OURS:
        learned = ours(settings, path)
    elif settings.side == "fasttext":
        fasttext(settings, path)
    else:
        learned = gensim(settings, path, settings.side == "gensim-file")
    seconds, used = time.perf_counter() - started, time.process_time() - used
    if settings.keep and learned is not None:
        keep(learned, Path(settings.keep))
    rate = words * settings.epochs / seconds
    return {"words_per_second": rate, "seconds": seconds, "cpu_seconds": used}


def keep(learned: WordVectors | KeyedVectors, file: Path) -> None:
    """Write vectors in word2vec's binary format."""
    from rootlm.models.vector_files import write_vectors
    from rootlm.models.word_vectors import WordVectors

    if isinstance(learned, WordVectors):
        write_vectors(learned, file, "binary")
    else:
        learned.save_word2vec_format(str(file), binary=True)


def figures(settings: Settings, task: str) -> list[Figure]:
    """Measure one task beside each peer that does it."""
    game = Contest(settings.cores, settings.rounds)
    given = {"text": settings.text, "labelled": settings.labelled, "epochs": settings.epochs, "task": task}
    given["share_negatives"] = str(settings.share_negatives).lower()
    words = [f"{key}={value}" for key, value in given.items() if value]

    def one(name: str) -> Contestant:
        return Contestant(name, ("benchmarks.vectors", f"side={name}", *words), {"OMP_NUM_THREADS": "1"})

    sides = [one(OURS), one("fasttext")]
    if task != "classifier":
        sides.append(game.best_of([one("gensim-file"), one("gensim-sentences")], "words_per_second"))
    found = game.play(sides)
    key, mine = "words_per_second", found.pop(OURS)
    goals = {"skip-gram": ">= 1.5", "CBOW": ">= 1.3", "FastText skip-gram": ">= 1.5"}
    text = Path(settings.labelled if task == "classifier" else settings.text).name
    return [
        compared(
            f"{task}, {text}, {settings.epochs} epochs",
            "words/s",
            median(mine, key),
            name,
            median(theirs, key),
            goals[task] if name.startswith("gensim") else ">= 1",
            cpu_ratio=median(theirs, "cpu_seconds") / median(mine, "cpu_seconds"),
            others_busy=max(run["others_busy"] for run in (*mine, *theirs)),
        )
        for name, theirs in found.items()
    ]


def main(settings: Settings) -> list[Figure]:
    tasks = [task for task in settings.tasks if settings.labelled or task != "classifier"]
    return [figure for task in tasks for figure in figures(settings, task)]


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(
            help_text(
                "python -m benchmarks.vectors", "word vectors beside the peers", Settings, __doc__ or ""
            )
        )
        sys.exit()
    chosen, _ = parse(sys.argv[1:], Settings)
    if chosen.side:
        print(json.dumps(side(chosen)))
        sys.exit()
    measured = main(chosen)
    contest.write(
        measured, Path(chosen.out) if chosen.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    )
    print(contest.table(measured))
