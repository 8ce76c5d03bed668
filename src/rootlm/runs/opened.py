"""The opening of a run folder, of one of Hugging Face's, or of a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from rootlm.core.collector import paused
from rootlm.core.config import read_yaml
from rootlm.core.device import choose
from rootlm.layers.packed import pack
from rootlm.layers.quantising import Quantisation, quantise
from rootlm.layers.weight_blocks import Weights
from rootlm.models.adapted import merged
from rootlm.models.catalog import CONFIG, WEIGHTS, load_model
from rootlm.models.foreign.hugging_face_folder import is_gguf, is_published
from rootlm.models.foreign.peft_settings import is_peft
from rootlm.models.interface import Network
from rootlm.runs.manners import speaking_of
from rootlm.runs.opened_tokenizer import reader_of, tokenizer_of
from rootlm.runs.opened_vectors import is_vectors, refuse
from rootlm.runs.run import Run
from rootlm.runs.sentence_folders import SentenceWay, sentence_way

_MOST_PACKED = 64 * 2**20
"""Bytes of weights beyond which a laid-out copy of them all is too much memory."""
RECIPE = "recipe.yaml"


@paused()
def load(
    folder: str | Path, *, device: str = "auto", precision: str = "auto", weights: Weights = "stored"
) -> Run:
    """Open a run folder, or one of Hugging Face's: config, weights and tokenizer, the rest if there.

    The precision is bfloat16 where the hardware computes well in it, else float32. Weights in int8 or int4 take a half
    or a quarter of bfloat16's memory, and are not quite the same: `rootlm evaluate` says what that costs. Raises
    ValueError naming the file that is missing, torn or does not fit the others.
    """
    folder = Path(folder)
    if is_vectors(folder):
        refuse(folder, "texts and no tokenizer")
    _check_complete(folder)
    place = choose(device, precision)
    model = load_model(folder, dtype=place.dtype, device=place.torch)
    quantised = _fewer_bits(folder, model, weights)
    if sum(parameter.nbytes for parameter in model.parameters()) <= _MOST_PACKED:
        pack(model)
    tokenizer = tokenizer_of(folder)
    # Published models round their tables up, and a run that begins from one keeps them so.
    if tokenizer.vocab_size > model.vocab_size:
        raise ValueError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size:,} tokens, {CONFIG} {model.vocab_size:,}; "
            "they belong to different runs, copy both from the same one"
        )
    sampling, ends, answering = speaking_of(folder, model)
    recipe = read_yaml(folder / RECIPE)[0] if (folder / RECIPE).exists() else {}
    reader, way = reader_of(folder, model, tokenizer), sentence_way(folder) or SentenceWay()
    return Run(folder, model, tokenizer, sampling, ends, recipe, reader, way, answering, quantised=quantised)


def _fewer_bits(folder: Path, model: Network, weights: Weights) -> Quantisation | None:
    """Keep a model's weights as asked; adapters go into them first."""
    if weights not in get_args(Weights):
        raise ValueError(f"weights={weights}: not known; use {', '.join(get_args(Weights))}")
    if weights == "stored":
        return None
    try:
        return quantise(model if model.adaptation is None else merged(model), weights)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def _check_complete(folder: Path) -> None:
    if is_gguf(folder):
        return
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; name the out folder of a rootlm train, or a folder of Hugging Face's"
        )
    if is_published(folder):
        return
    if is_peft(folder):
        raise ValueError(
            f"{folder}: holds adapters of PEFT's alone; rootlm import {folder} out=RUN makes a run of them"
        )
    missing = [name for name in (CONFIG, WEIGHTS, "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        remedy = "copy it from the run" if len(missing) < 3 else "rootlm train RECIPE out=FOLDER makes a run"
        raise ValueError(f"{folder / missing[0]}: missing, so this is no finished run; {remedy}")
