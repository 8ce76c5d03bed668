"""A run as a GGUF file, let out only when llama.cpp makes of it what we do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from rootlm.core.files import new_folder
from rootlm.models.catalog import read_saved, read_tensors
from rootlm.models.foreign import llama_cpp
from rootlm.models.foreign.foreign_model import ForeignModel, MadeTensors
from rootlm.models.foreign.gguf_model import write_gguf
from rootlm.models.foreign.gguf_quantising import Kind
from rootlm.models.foreign.ollama_modelfile import write_modelfile
from rootlm.models.foreign.registry import family_for
from rootlm.runs.export_card import Told, write_card
from rootlm.runs.exported import check, mark_ids, merged_side, speaking_of
from rootlm.runs.gguf_verified import (
    GELU_TOLERANCE,
    LOSSES,
    TOLERANCES,
    Continued,
    compare_continuations,
    compare_last,
    loss,
)
from rootlm.runs.imported import check_empty, named
from rootlm.runs.llama_cpp_side import llama_cpp_side
from rootlm.runs.opened_tokenizer import tokenizer_of
from rootlm.runs.sides import OwnSide
from rootlm.runs.verified import Verified, compare
from rootlm.tokenizers.chat_template import DEFAULT
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER
from rootlm.tokenizers.tokenizer import Tokenizer

_MARKS = ("bos_token_id", "eos_token_id", "pad_token_id")
_PLAIN: tuple[Kind, ...] = ("F32", "F16")


@dataclass(frozen=True)
class Proven:
    """What was found out about a GGUF file before it was let out."""

    file: Path
    found: Verified
    """Whoever opened it, beside our reading of the file."""
    lost: float
    """Nats per token that the type costs."""
    kind: Kind
    continued: Continued | None

    @property
    def sentence(self) -> str:
        """What a person wants to know."""
        said = [self.found.sentence]
        if self.continued is not None:
            said.append(self.continued.sentence)
        said.append(
            f"the type {self.kind} costs {self.lost:.1e} nats per token, {LOSSES[self.kind]:g} are allowed"
        )
        return "; ".join(said)


def export_gguf(
    run: Path,
    out: Path,
    kind: Kind = "F16",
    *,
    context: int | None = None,
    say: Callable[[str], None] = print,
) -> Proven:
    """Write a folder with a GGUF file, a Modelfile and a card, and open the file again.

    `context` is the longest text that it is for, where that is less than the run's. llama.cpp opens it where it is
    installed, else our own reader. Raises ValueError for a network or a tokenizer that llama.cpp has no equal for, and
    when the file does not say what the run says; nothing of it is then left.
    """
    check_empty(out)
    if out.suffix == ".gguf":
        raise ValueError(
            f"{out}: a folder is written, with the file and a Modelfile; set out={out.stem}-gguf"
        )
    name = out.resolve().name
    saved, tensors = read_saved(run), read_tensors(run)
    family = family_for(saved.model, saved.vocab_size)
    tokenizer = tokenizer_of(run)
    content, begins = _tokenizer_json(run, tokenizer), bool(tokenizer.begins)
    ids = mark_ids(run, tokenizer)
    config = family.write_config(saved.model, saved.vocab_size) | dict.fromkeys(_MARKS) | ids
    if context is not None:
        config |= _shorter(config, context)
    foreign = ForeignModel(
        config=config,
        tensors=MadeTensors(family.key_map(saved.model.resolved()).write(tensors), str(run)),
        tokenizer_json=content,
        chat_template=tokenizer.chat_templates.get(DEFAULT),
        generation={**speaking_of(run), **ids, "add_bos_token": begins},
        name=name,
    )
    with new_folder(out) as partial, named(partial, out):
        file = partial / f"{name}-{kind}.gguf"
        write_gguf(file, foreign, kind)
        write_modelfile(partial / "Modelfile", file, foreign)
        say(f"{out / file.name}: {family.model_type}, {file.stat().st_size / 1e6:,.1f} MB; opening it again")
        sides = (merged_side(run, tensors, say=say), _side(run, read_tensors(file)))
        proven = _prove(file, out / file.name, sides, (kind, _has_gelu(config)))
        _check(proven, out)
        parameters = f"{sides[0].model.n_parameters():,} parameters as {kind}"
        told = Told(
            "gguf",
            f"`{family.model_type}` with {parameters}, written by rootlm.",
            (f'llama-cli -m {file.name} -p "…"', f"ollama create {name} -f Modelfile"),
            f"Before this file was let out it was opened by {proven.found.second}: {proven.sentence}.",
        )
        write_card(partial, run, name, told, seen=llama_cpp.is_installed())
    return proven


def _prove(file: Path, named: Path, sides: tuple[OwnSide, OwnSide], what: tuple[Kind, bool]) -> Proven:
    whole, held = sides
    kind, gelu = what
    tolerance = max(TOLERANCES[kind], GELU_TOLERANCE if gelu else 0.0)
    lost = loss(whole, held, held.context)
    if not llama_cpp.is_installed():
        return Proven(named, compare(held, OwnSide(file), prompts=True), lost, kind, None)
    with llama_cpp_side(file) as other:
        found = compare_last(held, other, prompts=True, tolerance=tolerance)
        continued = compare_continuations(held, other) if found.agrees and kind in _PLAIN else None
    return Proven(named, found, lost, kind, continued)


def _check(proven: Proven, out: Path) -> None:
    check(proven.found, out)
    removed = f"{out}: the export does not say what the run says, so it was removed"
    if not proven.lost <= LOSSES[proven.kind]:
        raise ValueError(
            f"{removed}: rounding to {proven.kind} costs {proven.lost:.3g} nats per token, "
            f"{LOSSES[proven.kind]:g} are allowed; write a wider type"
        )
    if proven.continued is not None and proven.continued.widest > proven.found.allowed:
        raise ValueError(f"{removed}: {proven.continued.sentence}, and {proven.found.allowed:.1e} is one")


def _side(run: Path, tensors: Mapping[str, Tensor]) -> OwnSide:
    side = OwnSide(run)
    side.take(tensors)
    return side


def _tokenizer_json(run: Path, tokenizer: Tokenizer) -> str:
    """Return the text of `tokenizer.json`."""
    with TemporaryDirectory(prefix="rootlm-gguf-") as temporary:
        folder = Path(temporary)
        tokenizer.save(folder)
        file = run / TOKENIZER if (run / TOKENIZER).is_file() else folder / TOKENIZER
        return file.read_text(encoding="utf-8")


def _shorter(config: dict[str, Any], context: int) -> dict[str, int]:
    """Return the key that says how long texts may be, with less than it said."""
    key = "max_position_embeddings"
    if key not in config:
        raise ValueError(f"context={context}: this network has a row for each place of a text; leave it out")
    if not 1 <= context <= config[key]:
        raise ValueError(f"context={context}: expected 1 to {config[key]:,}, which the run reads")
    return {key: context}


def _has_gelu(config: dict[str, Any]) -> bool:
    keys = ("activation_function", "hidden_act", "hidden_activation")
    return any("gelu" in str(config.get(key)) for key in keys)
