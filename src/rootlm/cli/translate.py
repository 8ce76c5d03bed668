"""rootlm translate RUN (TEXT | FILE | -) [beam=4] [n=1] [json=true] [picture=FILE.svg] [key=value …]

Writes what an encoder–decoder makes of a text, or of each line of a file or of standard input: a translation, in
the direction that the run was trained in. Settings of the choice that are not given are the run's own. With
`picture` it draws what each piece of the first answer listened to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rootlm.cli.arguments import describe, parse
from rootlm.core.config import Config
from rootlm.core.mistakes import nearest
from rootlm.generation.sampling import Sampling
from rootlm.layers.weight_blocks import Weights

if TYPE_CHECKING:
    from rootlm.generation.texts import Generation

__doc__ += "\nhow tokens are chosen, as key=value or --key value:\n" + "\n".join(describe(Sampling))


class Settings(Config):
    """What to translate and how to print it; all other keys belong to the choice of tokens."""

    run: str
    """A run folder."""
    text: str
    """A text, a file with a text on each line, or - for standard input."""
    beam: Annotated[int, Field(ge=1)] | None = None
    """Search with this many beams; the same as num_beams."""
    json: bool = False  # type: ignore[assignment]
    """Print one JSON object per answer: source, text, tokens, logprobs, finish_reason."""
    picture: str | None = None
    """An SVG file for the attention of the first answer."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""
    precision: str = "auto"
    """auto, bfloat16 or float32."""
    weights: Weights = "stored"
    """stored keeps their own type; int8 and int4 take a half and a quarter of bfloat16's memory."""


def run(tokens: list[str]) -> int | None:
    """Print translations."""
    settings, others = parse(tokens, Settings, ["run", "text"], rest=Sampling)
    for override in others:
        if override.key.split(".")[0] not in Sampling.model_fields:
            hint = nearest(override.key, [*Settings.model_fields, *Sampling.model_fields])
            raise ValueError(f"unknown key {override.key}; {hint} (put -- before text that holds =)")
    choice = {override.key: override.value for override in others}
    if settings.beam is not None:
        # Whoever asks for beams does not want what the run would sample by.
        choice = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, **choice, "num_beams": settings.beam}
    lines = list(_lines(settings.text))
    from rootlm.runs.opened import load

    opened = load(
        Path(settings.run), device=settings.device, precision=settings.precision, weights=settings.weights
    )
    answers = iter(opened.answers([line for line in lines if line.strip()], **choice))
    drawn = False
    for line in lines:
        if not line.strip():
            print()  # a line of the answer for each line of the file
            continue
        several = next(answers)
        if settings.picture is not None and not drawn:
            from rootlm.core.files import write_text

            write_text(Path(settings.picture), opened.attention_picture(line, several[0].text))
            drawn = True
        for one in several:
            _print(one, settings.json)
    return None


def _lines(text: str) -> Iterator[str]:
    """Yield the texts to translate: those of a file, or the words themselves."""
    if text == "-":
        yield from (line.rstrip("\n") for line in sys.stdin)
    elif _is_file(text):
        from rootlm.text.raw.faults import Faults
        from rootlm.text.raw.lines import lines
        from rootlm.text.raw.rawfile import RawFile

        yield from (line for _, line in lines(RawFile.on_disk(Path(text)), None, Faults("stop")))
    elif not text.strip():
        raise ValueError("the text is empty: there is nothing to translate; give a text or a file")
    else:
        yield text


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a name
        return False


def _print(one: Generation, as_json: bool) -> None:
    if as_json:
        import orjson

        told = {
            "source": one.prompt,
            "text": one.text,
            "tokens": one.tokens,
            "logprobs": one.logprobs,
            "finish_reason": one.finish_reason,
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        print(one.text)
        if one.finish_reason != "stop":
            print("rootlm translate: an answer was cut; max_new_tokens=… writes more", file=sys.stderr)
