"""rootlm generate RUN [PROMPT | -] [chat=true] [temperature=0.8] [n=3] [json=true] [next=10] [key=value …]

Continues a prompt; `-` reads it from standard input, but for the last line end; none begins a document. A
single text appears as it is written. Settings of the choice that are not given are the run's own, from
generation_config.json. With `next=10` it shows the ten likeliest next words instead. With `chat=true` the prompt
is what a person says, and the model answers by its chat template; `system=…` stands before it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rootlm.cli.arguments import describe, parse
from rootlm.core.config import Config, Override
from rootlm.core.mistakes import nearest
from rootlm.generation.sampling import Sampling
from rootlm.layers.weight_blocks import Weights

if TYPE_CHECKING:
    from rootlm.generation.next_words import NextWord
    from rootlm.generation.texts import Generation, Prompt
    from rootlm.runs.run import Run

__doc__ += "\nhow tokens are chosen, as key=value or --key value:\n" + "\n".join(describe(Sampling))

_DIM, _BRIGHT, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_UNSAFE = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_BAR_CELLS = 30


class Settings(Config):
    """What to continue and how to print it; all other keys belong to the choice of tokens."""

    run: str
    """A run folder."""
    prompt: str = ""
    """The text to continue; - reads it from standard input."""
    chat: bool = False
    """Answer the prompt as a turn of a conversation, by the run's chat template."""
    system: str | None = None
    """With chat: what the system says first."""
    json: bool = False  # type: ignore[assignment]
    """Print one JSON object per text: prompt, text, tokens, logprobs, finish_reason, seed."""
    next: Annotated[int, Field(ge=0)] = 0
    """Show this many of the likeliest next words with their probabilities, and write nothing."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""
    precision: str = "auto"
    """auto, bfloat16 or float32."""
    weights: Weights = "stored"
    """stored keeps their own type; int8 and int4 take a half and a quarter of bfloat16's memory."""


def run(tokens: list[str]) -> int | None:
    """Write texts, or show what could come next."""
    settings, others = parse(tokens, Settings, ["run", "prompt"], rest=Sampling)
    choice = _choice(others)
    if settings.system is not None and not settings.chat:
        raise ValueError("system= stands before a conversation; add chat=true, or leave it out")
    if settings.next and settings.chat:
        raise ValueError(
            "next= shows how a text goes on, which chat=true does not ask; leave out one of them"
        )
    prompt = sys.stdin.read().removesuffix("\n") if settings.prompt == "-" else settings.prompt
    from rootlm.runs.opened import load

    opened = load(
        Path(settings.run), device=settings.device, precision=settings.precision, weights=settings.weights
    )
    sampling = opened.sampling_with(choice)
    asked: Prompt = opened.conversation(_turns(settings.system, prompt)) if settings.chat else prompt
    if settings.next:
        _show_next(prompt, opened.next_words(prompt, settings.next), settings.json)
    elif settings.json:
        for one in _all(opened, asked, sampling):
            _print_json(_plain(one) | (_guesses(one) if sampling.speculate else {}))
    elif sampling.n == 1 and sampling.num_beams == 1:
        _speak(opened, asked, sampling)
    else:
        texts = _all(opened, asked, sampling)
        _show_all("" if settings.chat else prompt, texts, sampling)
        if sampling.speculate:
            _explain_guesses(texts)
    return None


def _choice(others: Sequence[Override]) -> dict[str, Any]:
    for override in others:
        if override.key.split(".")[0] not in Sampling.model_fields:
            hint = nearest(override.key, [*Settings.model_fields, *Sampling.model_fields])
            raise ValueError(f"unknown key {override.key}; {hint} (put -- before text that holds =)")
    return {override.key: override.value for override in others}


def _turns(system: str | None, said: str) -> list[dict[str, str]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": said}]


def _all(opened: Run, prompt: Prompt, sampling: Sampling) -> list[Generation]:
    return opened.writer_by(sampling).generate([prompt], sampling)[0]


def _plain(one: Generation) -> dict[str, Any]:
    return {
        "prompt": one.prompt,
        "text": one.text,
        "tokens": one.tokens,
        "logprobs": one.logprobs,
        "finish_reason": one.finish_reason,
        "seed": one.seed,
    }


def _guesses(one: Generation) -> dict[str, int]:
    return {"readings": one.readings, "guessed": one.guessed, "held": one.held}


def _explain_guesses(texts: Sequence[Generation]) -> None:
    """Say how many tokens a reading of the model gave."""
    tokens = sum(len(one.tokens) for one in texts)
    readings, guessed, held = (
        sum(_guesses(one)[name] for one in texts) for name in ("readings", "guessed", "held")
    )
    print(
        f"rootlm generate: {tokens / readings:.2f} tokens for each reading; {held:,} of {guessed:,} guesses held",
        file=sys.stderr,
    )


def _print_json(value: dict[str, Any]) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def _speak(opened: Run, prompt: Prompt, sampling: Sampling) -> None:
    """Print one text as it is written."""
    from rootlm.generation.texts import Generation

    ending: Generation | None = None
    writer = opened.writer_by(sampling)

    def pieces() -> Iterator[str]:
        nonlocal ending
        for piece in writer.stream(prompt, sampling):
            if isinstance(piece, Generation):
                ending = piece
            else:
                yield piece

    _print_text(prompt if isinstance(prompt, str) else "", pieces())
    if ending is not None:
        _explain(opened, ending)
        if sampling.speculate:
            _explain_guesses([ending])


def _print_text(prompt: str, pieces: Iterator[str]) -> None:
    """Print prompt and text, the prompt dim and the text bright on a terminal."""
    colours = sys.stdout.isatty()
    write = sys.stdout.write
    write(f"{_DIM}{prompt.translate(_UNSAFE)}{_PLAIN}{_BRIGHT}" if colours else prompt)
    try:
        for piece in pieces:
            write(piece.translate(_UNSAFE) if colours else piece)
            sys.stdout.flush()
    finally:
        write(f"{_PLAIN}\n" if colours else "\n")
        sys.stdout.flush()


def _show_all(prompt: str, texts: list[Generation], sampling: Sampling) -> None:
    for number, one in enumerate(texts, 1):
        how = f"seed {one.seed}" if one.seed is not None else f"{sampling.num_beams} beams"
        print(f"── {number} of {len(texts)} · {how} · {one.finish_reason} ──")
        _print_text(prompt, iter([one.text]))


def _explain(opened: Run, one: Generation) -> None:
    """Say it when a text was cut off; where a setting did it, only to a person."""
    note = ""
    if one.finish_reason == "context":
        note = f"the model's context of {opened.model.context:,} tokens is full; on_full=slide writes on"
    elif one.finish_reason == "length" and sys.stderr.isatty():
        note = f"stopped after {len(one.tokens):,} tokens; max_new_tokens=… writes more"
    if note:
        print(f"rootlm generate: {note}", file=sys.stderr)


def _show_next(prompt: str, words: list[NextWord], as_json: bool) -> None:
    if as_json:
        for word in words:
            _print_json({"text": word.text, "probability": word.probability, "tokens": word.tokens})
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(f"after {_excerpt(prompt)}"))
    table.add_column("probability", justify="right")
    table.add_column("")
    largest = words[0].probability
    for word in words:
        bar = "█" * max(1, round(_BAR_CELLS * word.probability / largest))
        table.add_row(Text(_visible(word.text)), f"{word.probability:.1%}", Text(bar))
    Console(highlight=False).print(table)


def _excerpt(prompt: str) -> str:
    line = _visible(prompt)
    return line if len(line) <= 24 else f"…{line[-24:]}"


def _visible(text: str) -> str:
    """Show what a table would swallow: spaces at the ends, line ends, controls."""
    if text != text.strip(" "):
        text = text.replace(" ", "␣")
    return text.replace("\n", "⏎").replace("\t", "⇥").translate(_UNSAFE)
