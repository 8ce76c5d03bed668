"""A run as a folder that `transformers` opens, let out only when it gives the same ids and logits there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootlm.core.files import new_folder, read_json, write_json, write_text
from rootlm.models.catalog import read_saved, read_tensors
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign.hugging_face_folder import SHARD_BYTES, is_gguf, write_folder
from rootlm.runs.export_card import CARD, card_of
from rootlm.runs.imported import check_empty, copy_companions, named
from rootlm.runs.manners import GENERATION_CONFIG, manners_of
from rootlm.runs.opened_tokenizer import tokenizer_of
from rootlm.runs.pair_exported import answer_ids, copy_tokenizers, settle
from rootlm.runs.sentence_folders import sentence_way
from rootlm.runs.sides import OwnSide, has_transformers, open_side, opener_of
from rootlm.runs.verified import Verified, compare
from rootlm.tokenizers import framing
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER
from rootlm.tokenizers.tokenizer import Tokenizer

_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_TASKS = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModel": "sentence-similarity",
    "AutoModelForSeq2SeqLM": "text2text-generation",
}


def export_hf(
    run: Path,
    out: Path,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = print,
) -> Verified:
    """Write a folder of Hugging Face's and open it again; returns what the comparison found.

    `dtype` None keeps the type of the weights. Raises ValueError for a network that no family of theirs has, and
    when the export does not say what the run says; nothing of it is then left.
    """
    check_empty(out)
    saved, tokenizer, tensors = read_saved(run), tokenizer_of(run), read_tensors(run)
    answers = isinstance(saved.model, EncoderDecoderConfig)
    with new_folder(out) as partial, named(partial, out):
        family = write_folder(
            partial,
            saved.model,
            saved.vocab_size,
            tensors,
            dtype=dtype,
            more=mark_ids(run, tokenizer) | (answer_ids(run, tokenizer) if answers else {}),
            shard_bytes=shard_bytes,
        )
        (copy_tokenizers if answers else copy_companions)(run, partial, tokenizer)
        if is_gguf(run):
            write_json(partial / GENERATION_CONFIG, speaking_of(run))
        if not answers:
            mark_begin(partial, tokenizer)
        say(f"{out}: written as {family.model_type}; opening it again")
        first = merged_side(run, tensors, weights=dtype, say=say)
        if answers:
            settle(partial, first.run)
        found = compare(first, open_side(partial), prompts=True)
        check(found, out)
        opened = (family.class_of(saved.model), opener_of(partial))
        write_text(partial / CARD, _card(run, out, (opened, first), found))
    return found


def merged_side(
    run: Path,
    tensors: Mapping[str, Tensor],
    *,
    weights: torch.dtype | None = None,
    say: Callable[[str], None] = print,
) -> OwnSide:
    """Open a run as it leaves: with `tensors`, its weights with adapters merged, rounded to `weights`."""
    side = OwnSide(run, weights=weights)
    if side.model.adaptation is not None:
        apart = OwnSide(run, weights=weights)
        side.take(tensors)
        moved = compare(apart, side)
        say(f"{run}: its adapters are merged into the weights; rounding moves logits by {moved.largest:.1e}")
    return side


def check(found: Verified, out: Path) -> None:
    """Raise ValueError where an export is not what was exported."""
    if not found.agrees:
        raise ValueError(
            f"{out}: the export does not say what the run says, so it was removed: {found.sentence}"
        )


def mark_ids(run: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the ids of marks, as the run's way of speaking names them."""
    own = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    said = speaking_of(run)
    return own | {name: said[name] for name in _IDS if said.get(name) is not None}


def speaking_of(run: Path) -> dict[str, Any]:
    """Return what stands in `generation_config.json`, or within a GGUF file; empty where nothing does."""
    return manners_of(run)


def mark_begin(folder: Path, tokenizer: Tokenizer) -> None:
    """Let a tokenizer whose file puts nothing before a text put the begin mark there, where the model is used to it."""
    spec = read_json(folder / TOKENIZER)
    before = (framing.habit_of(spec) or ([], []))[0]
    if before or not tokenizer.begins:
        return
    token = tokenizer.name_of(tokenizer.bos_id)
    mark = {"SpecialToken": {"id": token, "type_id": 0}}
    begins = {
        "type": "TemplateProcessing",
        "single": [mark, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [mark, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [tokenizer.bos_id], "tokens": [token]}},
    }
    held = spec.get("post_processor")
    spec["post_processor"] = begins if held is None else {"type": "Sequence", "processors": [held, begins]}
    write_json(folder / TOKENIZER, spec)


def _card(run: Path, out: Path, what: tuple[tuple[str, str], OwnSide], found: Verified) -> str:
    (architecture, opener), side = what
    front, body = card_of(run)
    kept = [line for line in front if not line.startswith(("library_name:", "pipeline_tag:"))]
    library, task, used = _use(out.resolve().name, opener, sentences=sentence_way(run) is not None)
    lines = [
        "---",
        f"library_name: {library}",
        f"pipeline_tag: {task}",
        *kept,
        "---",
        "",
        f"# {out.resolve().name}",
        "",
        f"`{architecture}` with {side.model.n_parameters():,} parameters, written by rootlm.",
        "",
        "```python",
        *used,
        "```",
        "",
        "## The same outside as inside",
        "",
        f"Before this folder was let out it was opened by {found.second}: {found.sentence}.",
    ]
    if not has_transformers():
        lines += [
            "",
            "`transformers` was not installed where it was written, so no other library has seen it yet.",
        ]
    if body:
        lines += ["", "## From the run", "", body]
    return "\n".join(lines) + "\n"


def _use(name: str, opener: str, *, sentences: bool) -> tuple[str, str, tuple[str, ...]]:
    """Return whose a folder is and what it does, as model hubs name it, and how it is opened."""
    if sentences:
        library = "sentence-transformers"
        opened = (
            "from sentence_transformers import SentenceTransformer",
            "",
            f'model = SentenceTransformer("{name}")',
        )
        return library, "sentence-similarity", (*opened, 'vectors = model.encode(["…", "…"])')
    opened = (
        f"from transformers import {opener}, AutoTokenizer",
        "",
        f'model = {opener}.from_pretrained("{name}")',
    )
    return "transformers", _TASKS[opener], (*opened, f'tokenizer = AutoTokenizer.from_pretrained("{name}")')
