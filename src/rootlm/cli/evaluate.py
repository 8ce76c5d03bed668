"""rootlm evaluate RUN [--data PATH] [split=test | splits=[train,validation,test]] [json=true] [save=true]

Prints bits per byte, perplexity and next-token accuracy on text that the model has not seen, each with the
95 % interval of a bootstrap over documents. PATH is a corpus folder, or any file or folder of text; without
it, the corpus that the run was trained on is opened. Of an encoder it prints what it pays for each token hidden in
turn; for a run that writes from sources, such as a translator, BLEU and chrF of what it writes for the pairs, in
each direction that it has learned. With weights=int8 or int4 it also says how many bits per byte fewer bits cost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.layers.weight_blocks import Bits, Weights
from rootlm.text.raw.reading import Reading

if TYPE_CHECKING:
    from rootlm.evaluation.figures import Evaluation
    from rootlm.runs.run import Run
    from rootlm.text.document import Document

RESULT = "evaluation.json"
_ENCODER_DOCUMENTS = 50


class Settings(Config):
    """What to evaluate on."""

    run: str
    """A run folder."""
    data: str | None = None
    """A corpus folder, a file, a folder of files or a glob; none takes the corpus of the run's recipe."""
    split: str = "test"
    """Which split of a corpus."""
    splits: list[str] = Field(default_factory=list)
    """Several splits side by side, such as [train,validation,test], with the gap to the training text."""
    out_of_domain: str | None = None
    """With `splits`: a file, folder or corpus of other text beside them."""
    read: Reading = Reading()
    """How files become documents; a corpus is already made of them."""
    documents: int | None = Field(None, ge=1)
    """Score the first so many documents; none takes all, and 50 where each token is read for itself."""
    seed: int = 0
    """Draws the resamples of the intervals."""
    json: bool = False  # type: ignore[assignment]
    """Print one JSON object instead of a table."""
    save: bool = False
    """Write the figures to evaluation.json in the run folder."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""
    precision: str = "float32"
    """float32, or bfloat16: faster where the hardware has it, exact to about three digits."""
    weights: Weights = "stored"
    """stored keeps their own type; int8 and int4 take fewer bits: what that costs is printed too."""


def run(tokens: list[str]) -> int | None:
    """Print how likely the model finds held-out text."""
    settings, _ = parse(tokens, Settings, ["run"])
    from rootlm.evaluation.heldout import heldout
    from rootlm.runs.opened import load

    opened = load(
        Path(settings.run), device=settings.device, precision=settings.precision, weights=settings.weights
    )
    data = settings.data or _corpus(opened)
    if settings.splits:
        _side_by_side(opened, data, settings)
        return None

    def documents() -> Iterator[Document]:
        read = heldout(Path(data), settings.split, settings.read, lambda text: print(text, file=sys.stderr))
        return islice(read, _most(opened, settings.documents))

    found: dict[str, Any]
    if opened.writes_from_sources:
        found = {"directions": [one.to_plain(settings.seed) for one in opened.translations(documents())]}
    else:
        evaluation = opened.evaluate(_counted(documents()))
        found = evaluation.to_plain(settings.seed)
        if opened.quantised is not None:
            found |= _lost(settings, evaluation, documents())
    kept = {"precision": settings.precision, "weights": settings.weights}
    result = {"data": data, "split": settings.split, **kept, **found}
    if settings.save:
        from rootlm.core.files import write_json

        write_json(opened.folder / RESULT, result)
    if settings.json:
        import orjson

        sys.stdout.write(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif opened.writes_from_sources:
        _print_directions(result)
    else:
        _print(result)
    return None


def _lost(settings: Settings, rounded: Evaluation, documents: Iterator[Document]) -> dict[str, Any]:
    """Return what fewer bits cost: the same documents are read with the weights as they are stored."""
    from rootlm.evaluation.figures import compare
    from rootlm.runs.opened import load

    stored = load(Path(settings.run), device=settings.device, precision=settings.precision)
    cost = compare(rounded, stored.evaluate(_counted(documents)), settings.seed)
    return {f"lost_to_{settings.weights}_bits_per_byte": asdict(cost)}


def _most(opened: Run, asked: int | None) -> int | None:
    from rootlm.models.interface import Encoder

    return asked or (_ENCODER_DOCUMENTS if isinstance(opened.model, Encoder) else None)


def _side_by_side(opened: Run, data: str, settings: Settings) -> None:
    from rootlm.core.plain_table import plain_table
    from rootlm.core.run_report import GENERALISATION, generalisation_rows
    from rootlm.runs.generalisation import judge, texts_of
    from rootlm.text.corpus import Corpus

    corpus = Corpus.open(Path(data))
    for split in settings.splits:
        corpus.counts(split)
    texts = texts_of([corpus], settings.splits, settings.out_of_domain, seed=settings.seed)
    found = [one.to_plain() for one in judge(opened, texts, settings.seed)]
    if settings.json:
        import orjson

        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print(plain_table(GENERALISATION, generalisation_rows(found)))


def _corpus(opened: Run) -> str:
    corpus = opened.settings.get("corpus")
    if not isinstance(corpus, str) or not corpus:
        raise ValueError(f"{opened.folder}: its recipe names no single corpus; name a text with --data PATH")
    return corpus


def _counted(documents: Iterator[Document]) -> Iterator[Document]:
    """Show on a terminal how many documents were read so far."""
    if not sys.stderr.isatty():
        yield from documents
        return
    shown_at = time.monotonic()
    for number, document in enumerate(documents, 1):
        yield document
        if time.monotonic() - shown_at > 0.5:
            shown_at = time.monotonic()
            print(f"\r{number:,} documents read", end="", file=sys.stderr, flush=True)
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _table(rows: list[tuple[str, dict[str, Any], str]]) -> None:
    """Print figures: a name, a value with its interval, how to write both."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "value", "95 % interval"):
        table.add_column(name, justify="left" if not name else "right")
    for name, figure, form in rows:
        bounds = [form.format(figure[side]) for side in ("low", "high") if figure[side] is not None]
        table.add_row(name, form.format(figure["value"]), " – ".join(bounds) or "one document")
    Console(highlight=False, soft_wrap=True).print(table)


def _print_directions(result: dict[str, Any]) -> None:
    rows = []
    for found in result["directions"]:
        way = " → ".join(found["direction"])
        rows += [
            (f"{way} {name}", found[key], "{:.2f}") for key, name in (("bleu", "BLEU"), ("chrf", "chrF"))
        ]
    _table(rows)
    pairs, seconds = (sum(one[name] for one in result["directions"]) for name in ("pairs", "seconds"))
    cut = sum(one["cut"] for one in result["directions"])
    print(f"{pairs:,} answers, {cut:,} of them cut off, {seconds:.1f} s, {result['precision']}")


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console

    lost = tuple((f"lost_to_{bits}_bits_per_byte", "{:+.5f}") for bits in get_args(Bits))
    forms = (*lost, ("bits_per_byte", "{:.4f}"), ("perplexity", "{:,.2f}"), ("accuracy", "{:.2%}"))
    rows = []
    for name, figure in result.items():
        form = next((form for end, form in forms if name.endswith(end)), None)
        if form is not None:
            rows.append((name.replace("_", " "), figure, form))
    _table(rows)
    console = Console(highlight=False, soft_wrap=True)
    gone = f", {result['lost_bytes']:,} of them lost by the tokenizer" if result["lost_bytes"] else ""
    console.print(
        f"{result['documents']:,} documents, {result['tokens']:,} tokens, {result['bytes']:,} bytes{gone}, "
        f"{result['seconds']:.1f} s, {_kept(result)}",
        markup=False,
    )
    console.print(result["note"], markup=False)


def _kept(result: dict[str, Any]) -> str:
    return str(result["precision"]) + (
        "" if result["weights"] == "stored" else f", weights {result['weights']}"
    )
