"""The main job, end to end, on text that ships with rootlm: corpus, tokenizer, three generations of models, samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rootlm import shipped
from rootlm.core.config import Override
from rootlm.core.progress import duration
from rootlm.runs.comparison import Comparing, Comparison, Entrant, contest
from rootlm.runs.comparison_page import save, terminal_table, verdict
from rootlm.runs.material import train_texts
from rootlm.runs.opened import load
from rootlm.runs.recipe import Recipe, read_recipe, with_changes
from rootlm.runs.run import Run
from rootlm.text.corpus import Corpus
from rootlm.text.prepare import prepare
from rootlm.text.settings import Prepare
from rootlm.text.sources import Source
from rootlm.tokenizers.tokenizer_training import train as train_tokenizer

Say = Callable[[str], None]
CHINESE, ENGLISH, UNFINISHED = "床前明月光", "HAMLET:\nTo be, or not to be", "我爱中"
NGRAM, RECURRENT, DECODER = "5-gram", "lstm", "decoder"
"""The folders of the models, and what the table calls them."""
# Eighty short texts beside eight megabytes: without a share of its own, today's Chinese would be read once.
_READER, _READER_SHARE = "reader", 0.04
_BAR_CELLS = 24


def quickstart(folder: Path, overrides: Sequence[Override], say: Say) -> Comparison:
    """Do the whole job in `folder`, or what is left of it; returns how the models compare.

    `overrides` are the decoder's; the LSTM takes as large a part of its own steps as the decoder is told to take.
    Raises ValueError for what a person can mend. Interrupted, the same call goes on where it stopped.
    """
    started = time.perf_counter()
    say("1. Corpus. Tang and Song poems, old prose, Shakespeare and a small reader ship with rootlm.")
    say("   They are repaired, judged, freed of duplicates and split; a held-out part is never trained on.")
    corpus = _corpus(folder / "corpus", lambda name: name != _READER, lambda text: say(f"   {text}"))
    reader = _corpus(folder / _READER, lambda name: name == _READER, lambda _: None)
    train_bytes, test_bytes = (corpus.counts(split).bytes for split in ("train", "test"))
    say(
        f"   {train_bytes / 1e6:.1f} MB to learn from, {test_bytes / 1e6:.2f} MB held out for the final score."
    )
    say("2. Tokenizer. Pairs of letters and characters that stand together often become one token.")
    listed = entrants(folder, overrides, [corpus, reader])
    say("3. Three generations of language models: counted, recurrent, Transformer.")
    say("   Three to four minutes on two idle cores. Ctrl-C stops and saves, the same command goes on.")
    comparison = contest(
        listed,
        corpus,
        Comparing(prompts=[CHINESE, ENGLISH], texts=3),
        lambda text: say(f"   {text}"),
    )
    page = save(comparison, folder)
    say("4. On one scale: bits for each byte of documents that none has seen; before anything is learned, 8.")
    say("\n".join(["", *(f"   {line}" for line in terminal_table(comparison).splitlines()), ""]))
    say(f"   {verdict(comparison)}")
    say("5. The decoder speaks.")
    run = load(folder / DECODER)
    speak(run, say)
    say(f"   Done in {duration(time.perf_counter() - started)}. The comparison: {page}")
    say(f"   The decoder's report: {run.folder / 'report.html'}")
    say("\n".join(["", "What next:", *(f"  {command}" for command in next_commands(folder))]))
    return comparison


def entrants(folder: Path, overrides: Sequence[Override], corpora: Sequence[Corpus]) -> list[Entrant]:
    """Return the three models with their recipes, the oldest kind first; makes the tokenizer that they share."""
    shares = (1 - _READER_SHARE, _READER_SHARE)
    mixture = [{"path": str(one.folder), "weight": share} for one, share in zip(corpora, shares, strict=True)]
    # What is counted reads everything once, so nothing in it has a share.
    all_once = [{"path": str(one.folder)} for one in corpora]
    usual = _recipe("quickstart", folder / DECODER, mixture)
    asked = _recipe("quickstart", folder / DECODER, mixture, *overrides)
    tokenizer = Override("tokenizer", _tokenizer(folder / "tokenizer", asked, corpora))
    if not overrides:
        overrides = [Override("reference", "quickstart")]
    decoder = _recipe("quickstart", folder / DECODER, mixture, *overrides, tokenizer)
    recurrent = _recipe("quickstart_lstm", folder / RECURRENT, mixture, tokenizer)
    if asked.training.max_steps and usual.training.max_steps and recurrent.training.max_steps:
        part = asked.training.max_steps / usual.training.max_steps
        steps = max(1, round(recurrent.training.max_steps * part))
        recurrent = with_changes(recurrent, training={"max_steps": steps})
    ngram = _recipe("quickstart_5gram", folder / NGRAM, all_once, tokenizer)
    recipes = {NGRAM: ngram, RECURRENT: recurrent, DECODER: decoder}
    return [Entrant(name, Path(recipe.out), recipe) for name, recipe in recipes.items()]


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
        f'rootlm generate {folder / DECODER} "春眠不觉晓" n=3',
        f"rootlm evaluate {folder / NGRAM} data={folder / 'corpus'}",
        "rootlm data prepare YOUR_TEXT out=corpora/mine",
    ]


def _corpus(folder: Path, wanted: Callable[[str], bool], say: Say) -> Corpus:
    sources = [
        Source(path=str(text.path), name=text.name, licence=text.licence, origin=text.origin)
        for text in shipped.paths()
        if wanted(text.name)
    ]
    return prepare(Prepare(sources=sources), folder, notice=say)


def _tokenizer(folder: Path, asked: Recipe, corpora: Sequence[Corpus]) -> str:
    """Return where the tokenizer lies that a recipe asks for; learns it if need be."""
    if isinstance(asked.tokenizer, str):
        return asked.tokenizer
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(asked.tokenizer, train_texts(corpora)).save(folder)
    return str(folder)


def _recipe(name: str, out: Path, corpus: object, *overrides: Override) -> Recipe:
    return read_recipe(name, [Override("corpus", corpus), Override("out", str(out)), *overrides])
