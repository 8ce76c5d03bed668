"""A run of word vectors: text → words → vocabulary → training → a folder like any other run's."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rootlm.core import config, energy, files, machine, records
from rootlm.core.config import Config
from rootlm.core.progress import Progress
from rootlm.core.run_report import run_report
from rootlm.models.subwords import Subwords, rows_of
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.vectors_room import MOST_BUCKETS, enough_buckets, require_memory
from rootlm.runs.vectors_text import VectorsText, pieces
from rootlm.text.words.segment import HAN
from rootlm.tokenizers.counted_words import CountedWords, count_words
from rootlm.training.word_vector_settings import ClassifierConfig, FastTextConfig, GloveConfig, Word2VecConfig

if TYPE_CHECKING:  # what these import compiles
    from rootlm.training.stretches import Standing
    from rootlm.training.word_vector_training import Bags, Learned

Say = Callable[[str], None]
Tell = Callable[["Standing"], None]
Ints = NDArray[np.int64]

METRICS, RECIPE, CARD = "metrics.jsonl", "recipe.yaml", "README.md"
_RECORD_SECONDS = 1.0


class VectorsRecipe(Config):
    """All that makes a run of word vectors."""

    corpus: tuple[str, ...]
    """Files of words apart, a sentence a line, or corpora."""
    text: VectorsText = VectorsText()
    """How words are read."""
    model: Annotated[
        Word2VecConfig | FastTextConfig | GloveConfig | ClassifierConfig, Field(discriminator="kind")
    ] = Word2VecConfig()
    """What is learned, told apart by kind."""


def learn(recipe: VectorsRecipe, say: Say, tell: Tell = lambda _: None) -> WordVectors:
    """Read the text and return the vectors it teaches; raises ValueError for bad input, naming the remedy."""
    settings = recipe.model
    threads = settings.threads or machine.physical_cores()
    text = pieces(recipe.corpus, recipe.text, threads)
    if isinstance(settings, ClassifierConfig):
        from rootlm.runs.classifier_run import classifier  # what it imports compiles

        if recipe.text.phrases.passes:
            raise ValueError("text.phrases is for word vectors; a classifier takes word_ngrams=2 instead")
        return classifier(settings, text, say, tell)
    counted = count_words(
        text,
        min_count=settings.min_count,
        threads=threads,
        memory_bytes=machine.available_memory() // 4,
        phrases=recipe.text.phrases,
    )
    if recipe.text.phrases.passes:
        examples = f", such as {', '.join(counted.phrases[:5])}" if counted.phrases else ""
        say(f"{len(counted.phrases):,} phrases{examples}")
    say(
        f"{counted.read:,} words read; {len(counted.words):,} of {counted.distinct:,} different ones occur "
        f"{settings.min_count} times or more and are kept, {len(counted.tokens):,} words in all"
    )
    about: dict[str, Any] = {
        "counts": counted.counts,
        "settings": config.to_plain(settings) | {"tokens": counted.read},
    }
    if isinstance(settings, GloveConfig):
        from rootlm.training import glove_training  # what it imports compiles
        from rootlm.training.word_vector_training import Text

        require_memory(settings.size, 4 * len(counted.words), len(counted.words))
        whole = Text(counted.tokens, counted.borders, counted.counts)
        learned = glove_training.train(settings, whole, say, tell)
        return WordVectors(counted.words, learned.rows, outputs=learned.outputs, **about)
    if isinstance(settings, FastTextConfig):
        return _with_subwords(settings, counted, about, say, tell)
    learned = _trained(settings, counted, None, tell)
    return WordVectors(counted.words, learned.rows, outputs=learned.outputs, **about)


def _trained(settings: Word2VecConfig, counted: CountedWords, bags: Bags | None, tell: Tell) -> Learned:
    from rootlm.training import word_vector_training as training  # what it imports compiles

    text = training.Text(counted.tokens, counted.borders, counted.counts)
    bags = bags or training.words_alone(len(counted.words))
    rows = int(bags.rows.max()) + 1
    buckets = settings.buckets if isinstance(settings, FastTextConfig) else None
    require_memory(settings.size, rows + len(counted.words), len(counted.words) + (buckets or 0))
    return training.train(settings, text, bags, tell)


def _with_subwords(
    settings: FastTextConfig, counted: CountedWords, about: dict[str, Any], say: Say, tell: Tell
) -> WordVectors:
    words = len(counted.words)
    shortest, longest = characters(settings, counted.words)
    buckets = settings.buckets or enough_buckets(len(_bags(counted, (shortest, longest, MOST_BUCKETS))[1]))
    settings = settings.model_copy(update={"minimum": shortest, "maximum": longest, "buckets": buckets})
    bags, used = _bags(counted, (shortest, longest, buckets))
    say(f"their n-grams of {shortest} to {longest} characters take {len(used):,} of {buckets:,} rows")
    learned = _trained(settings, counted, bags, tell)
    # Rows that no word of the text has used stay zero: they say nothing of an unseen word.
    matrix = np.zeros((buckets, settings.size), np.float32)
    matrix[used] = learned.rows[words:]
    subwords = Subwords(shortest, longest, buckets, matrix, learned.rows[:words])
    about["settings"] |= config.to_plain(settings)
    return WordVectors.of_subwords(counted.words, subwords, outputs=learned.outputs, **about)


def characters(settings: FastTextConfig, words: Sequence[str]) -> tuple[int, int]:
    """Return the least and most characters of an n-gram, chosen by the words where they are not set.

    Chinese words are short: from 3 characters on they are cut into little but themselves, and unseen words into
    nothing known. Single characters bring words together that only look alike.

    >>> characters(FastTextConfig(), ["北京", "the", "上海"]), characters(FastTextConfig(), ["the", "of"])
    ((2, 3), (3, 6))
    """
    if settings.minimum is not None and settings.maximum is not None:
        return settings.minimum, settings.maximum
    chinese = sum(1 for word in words if re.search(f"[{HAN}]", word))
    return (2, 3) if 2 * chinese > len(words) else (3, 6)


def _bags(counted: CountedWords, shape: tuple[int, int, int]) -> tuple[Bags, Ints]:
    """Return the rows of every word and which buckets they use: only those have a row while training."""
    from rootlm.training.word_vector_training import Bags

    words = len(counted.words)
    spans = rows_of(counted.words, *shape)
    used, places = np.unique(spans.rows, return_inverse=True)
    offsets = spans.starts + np.arange(words + 1)
    rows = np.empty(int(offsets[-1]), np.int32)
    own = np.zeros(len(rows), bool)
    own[offsets[:-1]] = True
    rows[own] = np.arange(words)
    rows[~own] = places + words
    return Bags(offsets, rows), used.astype(np.int64)


def train(recipe: VectorsRecipe, folder: Path, say: Say) -> WordVectors | None:
    """Learn vectors and leave a run folder; None where a finished run is in it already, which is left alone."""
    metrics = folder / METRICS
    with files.locked(folder):
        if metrics.exists() and records.of_kind(records.read(metrics), "end"):
            say(f"{folder}: finished; choose another out= to train anew")
            return None
        # Nothing was finished: whatever an interrupted start has recorded is dropped.
        metrics.unlink(missing_ok=True)
        files.write_text(folder / RECIPE, config.to_yaml(recipe))
        with records.Records(metrics) as log:
            vectors = _recorded(recipe, folder, log, say)
        run_report(folder)
        files.write_text(folder / CARD, vectors_card(folder.resolve().name, recipe, vectors))
    say(f"the vectors are in {folder}; the report is {folder / 'report.html'}")
    return vectors


def _recorded(recipe: VectorsRecipe, folder: Path, log: records.Records, say: Say) -> WordVectors:
    meter, started = energy.Meter(), time.perf_counter()
    machine.forget_peak_memory()
    with _Watch(log, say) as watch:
        vectors = learn(recipe, watch.say, watch)
    seconds = time.perf_counter() - started
    vectors.save(folder)
    used = meter.read()
    log.write(
        {
            "kind": "end",
            "step": watch.step,
            "seconds": seconds,
            "finished": True,
            f"{watch.unit}s_per_second": watch.read / seconds,
            "energy_joules": used.joules,
            "energy_source": used.source,
            "peak_memory_mb": round(machine.peak_memory() / 1e6),
        }
    )
    return vectors


def vectors_card(name: str, recipe: VectorsRecipe, vectors: WordVectors) -> str:
    """Return the README of a run folder."""
    labels = f", and {len(vectors.labels):,} labels" if vectors.labels else ""
    ask = "classify {0} TEXT" if vectors.labels else "neighbours {0} WORD"
    lines = [
        "---", "library_name: rootlm", "tags: [word-vectors]", "---", "", f"# {name}", "",
        f"{len(vectors):,} words as vectors of {vectors.size} numbers{labels}, learned with rootlm "
        f"(kind {recipe.model.kind}).", "", "## What it read", "",
        *(f"- {path}" for path in recipe.corpus), "", "## How to use it", "", "```",
        f"rootlm vectors {ask.format(name)}", "```", "", "## How it was made", "", "```yaml",
        config.to_yaml(recipe).rstrip(), "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


class _Watch:
    """Writes the progress line and the records of a training."""

    def __init__(self, log: records.Records, say: Say) -> None:
        self.read = self.step = 0
        self.unit = "word"
        self._log, self._say = log, say
        self._progress: Progress | None = None
        self._started = self._recorded = 0.0
        self._losses: list[float] = []
        self._read_recorded = 0

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress:
            self._progress.close()

    def say(self, text: str) -> None:
        """Write a line above the progress."""
        (self._progress.say if self._progress else self._say)(text)

    def __call__(self, standing: Standing) -> None:
        now, read, total, loss = time.perf_counter(), standing.tokens, standing.total, standing.loss
        if self._progress is None:
            self.unit = standing.unit
            self._progress, self._started, self._recorded = Progress(total, unit=self.unit), now, now
            self._log.write({"kind": "start", "step": 0, "device": "cpu", f"{self.unit}s": total})
        self.read, self.step = read, self.step + 1
        if loss is not None:
            self._losses.append(loss)
        if now - self._recorded < _RECORD_SECONDS and read < total:
            return
        pace = (read - self._read_recorded) / max(1e-9, now - self._recorded)
        fields = {"loss": float(np.mean(self._losses)) if self._losses else float("nan")}
        fields |= {f"{self.unit}s_per_second": pace, "learning_rate": standing.rate}
        self._progress.update(read, fields)
        record = {"kind": "train", "step": self.step, "tokens": read, "seconds": now - self._started}
        self._log.write(record | fields | {"tokens_per_second": pace})
        self._recorded, self._read_recorded, self._losses = now, read, []
