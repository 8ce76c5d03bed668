"""What an encoder–decoder's folder needs beside weights: how sources are read, and how answers begin."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rootlm.core.files import read_json, write_json
from rootlm.generation.answering import START
from rootlm.generation.sampling import to_generation_config
from rootlm.runs.imported import copy_companions
from rootlm.runs.manners import GENERATION_CONFIG, manners_of
from rootlm.runs.pair_files import copy_pair, pair_of
from rootlm.runs.run import Run
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER
from rootlm.tokenizers.tokenizer import SOURCE_TOKENIZER, Tokenizer


def answer_ids(run: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return which ids begin and end an answer, as a published config says it."""
    said = manners_of(run)
    # Where they are left out, transformers takes those of the family.
    forced = {name: said.get(name) for name in ("forced_bos_token_id", "forced_eos_token_id")}
    return {START: tokenizer.bos_id, **forced}


def copy_tokenizers(run: Path, to: Path, tokenizer: Tokenizer) -> None:
    """Copy what belongs to the tokenizers of a run or folder; those of Marian as they came.

    Raises ValueError for two tokenizers that no other library opens.
    """
    pair = pair_of(run)
    if pair is not None:
        copy_pair(pair, to)
        if (run / GENERATION_CONFIG).is_file():
            shutil.copyfile(run / GENERATION_CONFIG, to / GENERATION_CONFIG)
        return
    if (run / SOURCE_TOKENIZER).is_dir():
        raise ValueError(
            f"{run / SOURCE_TOKENIZER}: no Hugging Face folder holds two tokenizers of rootlm's; train with one for "
            "both sides"
        )
    copy_companions(run, to, tokenizer)


def settle(folder: Path, run: Run) -> None:
    """Say in a folder how answers begin, and put the end mark behind sources where a run of ours has read it."""
    tokenizer = run.tokenizer
    file = folder / GENERATION_CONFIG
    said = read_json(file) if file.is_file() else to_generation_config(run.sampling)
    marks = {"eos_token_id": sorted(run.end_ids) or tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    reach = run.model.context
    if reach is not None and said.get("max_new_tokens", 0) >= reach:
        said = {**said, "max_new_tokens": reach - 1}  # transformers would read beyond its last position
    write_json(file, {**marks, **said, START: tokenizer.bos_id})
    if run.answering is None and pair_of(folder) is None:
        _mark_end(folder, tokenizer)


def _mark_end(folder: Path, tokenizer: Tokenizer) -> None:
    spec = read_json(folder / TOKENIZER)
    token = tokenizer.name_of(tokenizer.eos_id)
    mark, text = {"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [text, mark],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}, mark],
        "special_tokens": {token: {"id": token, "ids": [tokenizer.eos_id], "tokens": [token]}},
    }
    write_json(folder / TOKENIZER, spec)
