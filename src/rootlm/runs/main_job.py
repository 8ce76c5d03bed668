"""The main job, end to end, on text that ships with rootlm: corpus, tokenizer, decoder, score, samples, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rootlm import shipped
from rootlm.core.config import Override
from rootlm.core.progress import duration
from rootlm.runs.fitting import train
from rootlm.runs.opened import Run, load
from rootlm.runs.recipe import Recipe, read_recipe
from rootlm.text.corpus import Corpus
from rootlm.text.prepare import prepare
from rootlm.text.settings import Prepare
from rootlm.text.sources import Source

Say = Callable[[str], None]
CHINESE, ENGLISH, UNFINISHED = "床前明月光", "HAMLET:\nTo be, or not to be", "我爱中"
# Eighty short texts beside eight megabytes: without a share of its own, today's Chinese would be read once.
_READER, _READER_SHARE = "reader", 0.04
_BAR_CELLS = 24


def quickstart(folder: Path, overrides: list[Override], say: Say) -> Run:
    """Do the whole job in `folder`, or what is left of it; returns the trained run.

    Raises ValueError for what a person can mend. Interrupted, the same call goes on where it stopped.
    """
    started = time.perf_counter()
    say("1. Corpus. Tang and Song poems, old prose, Shakespeare and a small reader ship with rootlm.")
    say("   They are repaired, judged, freed of duplicates and split; a held-out part is never trained on.")
    corpus = _corpus(folder / "corpus", lambda name: name != _READER, lambda text: say(f"   {text}"))
    _corpus(folder / _READER, lambda name: name == _READER, lambda _: None)
    train_bytes, test_bytes = (corpus.counts(split).bytes for split in ("train", "test"))
    say(
        f"   {train_bytes / 1e6:.1f} MB to learn from, {test_bytes / 1e6:.2f} MB held out for the final score."
    )
    recipe = _recipe(folder, overrides)
    say(
        f"2. Tokenizer and decoder. {recipe.training.max_steps} steps, two to three minutes on two idle cores;"
    )
    say("   Ctrl-C stops and saves, the same command goes on.")
    train(recipe, lambda text: say(f"   {text}"))
    run = load(recipe.out)
    say("3. Score, on documents it never saw.")
    score(run, corpus, say)
    say("4. It speaks.")
    speak(run, say)
    say(f"   Done in {duration(time.perf_counter() - started)}. The report: {run.folder / 'report.html'}")
    say("\n".join(["", "What next:", *(f"  {command}" for command in next_commands(folder))]))
    return run


def score(run: Run, corpus: Corpus, say: Say) -> None:
    """Say how well the run predicts the test split."""
    figures = run.evaluate(corpus.documents("test"))
    bits = figures.bits_per_byte()
    say(
        f"   {bits.value:.3f} bits per byte (95 % interval {bits.low:.3f} to {bits.high:.3f}) on "
        f"{len(figures.nats):,} documents; a byte takes 8 bits before anything is learned."
    )
    say(f"   The next token is its first guess {figures.accuracy().value:.0%} of the time.")


def speak(run: Run, say: Say) -> None:
    """Say two samples, the longest of three each, and what comes next after an unfinished word."""
    for prompt, settings in ((CHINESE, {"max_new_tokens": 48}), (ENGLISH, {"max_new_tokens": 60})):
        text = max(run.generate(prompt, temperature=0.7, top_p=0.9, seed=1, n=3, **settings), key=len)
        lines = f"{prompt}{text}".strip().splitlines()
        say("\n".join(["", *(f"     {line}" for line in lines if line.strip())]))
    say("\n".join(["", f"   Given {UNFINISHED}, what comes next:", *next_word_lines(run, UNFINISHED)]))


def next_word_lines(run: Run, prompt: str, k: int = 5) -> list[str]:
    """Return a bar for each of the likeliest continuations."""
    return [
        f"     {word.text.strip() or repr(word.text)}\t{word.probability:6.1%} {_bar(word.probability)}"
        for word in run.next_words(prompt, k)
    ]


def _bar(share: float) -> str:
    return "█" * round(share * _BAR_CELLS)


def next_commands(folder: Path) -> list[str]:
    """Return three commands worth typing next."""
    return [
        f'rootlm generate {folder} "春眠不觉晓" n=3',
        f"rootlm evaluate {folder} data={folder / 'corpus'}",
        "rootlm data prepare YOUR_TEXT out=corpora/mine",
    ]


def _corpus(folder: Path, wanted: Callable[[str], bool], say: Say) -> Corpus:
    sources = [
        Source(path=str(text.path), name=text.name, licence=text.licence, origin=text.origin)
        for text in shipped.paths()
        if wanted(text.name)
    ]
    return prepare(Prepare(sources=sources), folder, notice=say)


def _recipe(folder: Path, overrides: list[Override]) -> Recipe:
    shares = {"corpus": 1 - _READER_SHARE, _READER: _READER_SHARE}
    parts = [{"path": str(folder / name), "weight": share} for name, share in shares.items()]
    own = [Override("corpus", parts), Override("out", str(folder))]
    if not overrides:
        own.append(Override("reference", "quickstart"))
    return read_recipe("quickstart", [*own, *overrides])
