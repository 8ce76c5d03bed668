"""What guessing ahead gains: python -m benchmarks.speculation run=RUN corpus=CORPUS [drafts=[RUN]] [rounds=5]

Two kinds of prompts from held-out documents: `quoted`, a passage and then its first words again, as who quotes,
summarises or edits code has it; `plain`, the beginning of a document. Everybody writes the same number of tokens after
the same prompts, one prompt at a time, in turns; a figure is the median over rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from pydantic import Field

from benchmarks.contest import busy_share
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config
from rootlm.core.plain_table import plain_table
from rootlm.evaluation.heldout import heldout
from rootlm.generation.sampling import DraftConfig, LookUpConfig, Sampling, SpeculateConfig
from rootlm.generation.texts import Generation
from rootlm.runs.opened import load
from rootlm.runs.run import Run


class Settings(Config):
    run: str
    """The run that writes."""
    corpus: str
    """A corpus folder; its test split gives the prompts."""
    drafts: tuple[str, ...] = ()
    """Runs with the same tokenizer that guess."""
    prompts: int = Field(6, gt=0)
    """Prompts of each kind."""
    passage: int = Field(200, gt=0)
    """Tokens of a quoted passage."""
    words: int = Field(40, gt=0)
    """Tokens of it that are repeated, and of a plain beginning."""
    written: int = Field(120, gt=0)
    """Tokens to write."""
    tokens: int = Field(4, gt=0)
    """Tokens a draft guesses at once."""
    temperature: float = 0.0
    """0 is greedy."""
    rounds: int = Field(5, gt=0)
    """How often."""
    device: str = "cpu"
    """Where the run is."""
    precision: str = "float32"
    """float32, or bfloat16, in which a near tie may fall the other way."""


def main(words: Sequence[str]) -> int:
    """Measure and print a table."""
    if "--help" in words or "help" in words:
        print(
            help_text(
                "python -m benchmarks.speculation", "what guessing ahead gains", Settings, __doc__ or ""
            )
        )
        return 0
    settings, _ = parse(list(words), Settings)
    busy = busy_share("")
    run = load(settings.run, device=settings.device, precision=settings.precision)
    ways: dict[str, SpeculateConfig | None] = {"without": None}
    ways["lookup, 3-gram, 8"] = LookUpConfig(tokens=8, ngram=3)
    for draft in settings.drafts:
        ways[f"draft {Path(draft).name}, {settings.tokens}"] = DraftConfig(
            model=draft, tokens=settings.tokens
        )
    rows = [
        line
        for kind, prompts in _prompts(run, settings).items()
        for line in _race(run, kind, prompts, ways, settings)
    ]
    weights, threads = run.model.n_parameters() / 1e6, torch.get_num_threads()
    print(
        f"{settings.run}: {weights:.1f} M parameters, {settings.precision}, {settings.device}, {threads} threads"
    )
    print(f"before, others kept the machine's cores {busy:.0%} busy")
    print(
        plain_table(
            ["prompts", "guesses", "tokens/s", "ratio", "tokens a reading", "held", "same text"], rows
        )
    )
    return 0


def _prompts(run: Run, settings: Settings) -> dict[str, list[str]]:
    """Return prompts of both kinds from documents that are long enough."""
    tokenizer, least = run.tokenizer, settings.passage + settings.words
    ids = (tokenizer.encode(document.text) for document in heldout(Path(settings.corpus), "test"))
    passages = list(islice((found for found in ids if len(found) > least), settings.prompts))
    if not passages:
        raise ValueError(f"{settings.corpus}: no test document has {least} tokens; set a smaller passage=…")
    quoted = [[*found[: settings.passage], *found[: settings.words]] for found in passages]
    plain = [found[: settings.words] for found in passages]
    return {
        kind: [tokenizer.decode(one) for one in several]
        for kind, several in {"quoted": quoted, "plain": plain}.items()
    }


def _race(
    run: Run, kind: str, prompts: list[str], ways: dict[str, SpeculateConfig | None], settings: Settings
) -> list[list[str]]:
    """Return a line of the table for each way."""
    asked = Sampling(max_new_tokens=settings.written, temperature=settings.temperature, seed=1)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, list[Generation]] = {}
    for number in range(settings.rounds + 1):
        for name, speculate in ways.items():
            sampling = asked.model_copy(update={"speculate": speculate})
            writer = run.writer_by(sampling)
            started = time.perf_counter()
            said[name] = [writer.generate([prompt], sampling)[0][0] for prompt in prompts]
            seconds = time.perf_counter() - started
            if number:  # the first round warms up
                speeds[name].append(sum(len(one.tokens) for one in said[name]) / seconds)
    lines = []
    for name, seen in speeds.items():
        tokens, readings, guessed, held = (
            sum(count)
            for count in zip(
                *((len(one.tokens), one.readings, one.guessed, one.held) for one in said[name]), strict=True
            )
        )
        ratio = statistics.median(one / other for one, other in zip(seen, speeds["without"], strict=True))
        same = sum(one.tokens == other.tokens for one, other in zip(said[name], said["without"], strict=True))
        lines.append(
            [
                kind,
                name,
                f"{statistics.median(seen):,.0f} ({min(seen):,.0f}–{max(seen):,.0f})",
                f"{ratio:.2f}",
                f"{tokens / readings:.2f}",
                f"{held / guessed:.0%}" if guessed else "–",
                f"{same} of {len(prompts)}",
            ]
        )
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
