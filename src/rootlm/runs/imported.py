"""A published model as a run of ours: weights under our names, all that belongs to its tokenizer beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rootlm.core.files import new_folder, read_json, write_json
from rootlm.generation.answering import START
from rootlm.models.catalog import CONFIG, describe, read_saved
from rootlm.models.foreign import safetensors_files
from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.hugging_face_folder import is_gguf, is_published, open_folder
from rootlm.models.foreign.key_map import Outgoing
from rootlm.runs.manners import GENERATION_CONFIG, manners_of, speaking_of
from rootlm.runs.opened_tokenizer import tokenizer_of
from rootlm.runs.pair_files import PAIR_FILES, copy_pair
from rootlm.runs.published import find
from rootlm.runs.sentence_folders import copy_way
from rootlm.tokenizers import framing
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER
from rootlm.tokenizers.piece_pair import SOURCE, is_pair
from rootlm.tokenizers.tokenizer import SOURCE_TOKENIZER, Tokenizer

COMPANIONS = (
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    GENERATION_CONFIG,
)
"""The files that belong to a model's tokenizer and to its way of speaking."""
_ABOUT = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE")


def import_model(
    name: str,
    out: Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype | None = None,
    pad: str | None = None,
    pattern: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Write a run of a published model, by path or hub name; `dtype` None keeps the weights as they are.

    `pad` names another token that fills rows; empty, that nothing does. `pattern` says how the text of ranks is cut.

    Raises ValueError naming what is missing, torn or not supported, and for an `out` that holds something.
    """
    check_empty(out)
    folder = find(name, revision)
    if not is_published(folder):
        if (folder / CONFIG).is_file():
            read_saved(folder)
        raise ValueError(
            f"{folder}: is no published model: its {CONFIG} is missing or rootlm's own; a run needs no import"
        )
    published = open_folder(folder)
    tokenizer = tokenizer_of(folder, pad=pad, pattern=pattern)
    if tokenizer.vocab_size > published.vocab_size:
        raise ValueError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size:,} tokens, {CONFIG} only {published.vocab_size:,}; "
            "they belong to different models, copy both from the same one"
        )
    said, model = manners_of(folder), published.empty()
    speaking_of(folder, model)  # refuses what no verb could follow
    tensors = [_of_numbers(one, published.tensors.place) for one in published.named(dtype=dtype)]
    with new_folder(out) as partial, named(partial, out):
        safetensors_files.write_files(partial, tensors, most_bytes=1 << 62)
        copy_companions(folder, partial, tokenizer)
        if pad is not None:
            _set_pad(partial, pad)
        if START in said or not (partial / GENERATION_CONFIG).exists():
            write_json(partial / GENERATION_CONFIG, said if START in said else _end_ids(folder))
        for file in _ABOUT:
            if (folder / file).is_file():
                shutil.copyfile(folder / file, partial / file)
        write_json(partial / CONFIG, describe(model))
    say(
        f"{out}: {published.family.model_type}, {model.n_parameters():,} parameters, {published.vocab_size:,} ids, "
        f"context {model.context:,}"
    )
    return out


def check_empty(out: Path) -> None:
    """Raise ValueError where a folder would be overwritten."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: exists already; choose another out=, or remove it first")


@contextmanager
def named(partial: Path, out: Path) -> Iterator[None]:
    """Let what goes wrong with a folder name the place it was meant for."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace(str(partial), str(out))) from error


def copy_companions(source: Path, to: Path, tokenizer: Tokenizer) -> None:
    """Copy what belongs to the tokenizer as it is; one that came in another format is written anew."""
    if not (source / TOKENIZER).is_file():
        tokenizer.save(to)
        if is_pair(source):
            Tokenizer.load(source / SOURCE).save(to / SOURCE_TOKENIZER)
            copy_pair(source, to / PAIR_FILES)
    for name in COMPANIONS:
        if (source / name).is_file() and not (to / name).exists():
            shutil.copyfile(source / name, to / name)
    if tokenizer.asked_to_begin is not None:
        _say_how_texts_begin(to / "tokenizer_config.json", tokenizer)
    copy_way(source, to)


def _say_how_texts_begin(file: Path, tokenizer: Tokenizer) -> None:
    """Write it where the files of a tokenizer said nothing: a run must."""
    names = {
        f"{role}_token": None if number is None else tokenizer.name_of(number)
        for role, number in (
            ("bos", tokenizer.bos_id),
            ("eos", tokenizer.eos_id),
            ("pad", tokenizer.pad_id),
            ("unk", tokenizer.unk_id),
        )
    }
    held = read_json(file) if file.is_file() else names
    if held.get(framing.SETTING) is not tokenizer.asked_to_begin:
        write_json(file, {**held, framing.SETTING: tokenizer.asked_to_begin})


def _set_pad(folder: Path, pad: str) -> None:
    """Write which token fills rows into every file that says so."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            write_json(folder / name, {**read_json(folder / name), "pad_token": pad or None})


def _of_numbers(one: Outgoing, place: str) -> Outgoing:
    """Refuse a tensor, when it is made, that holds anything but numbers."""

    def make() -> torch.Tensor:
        made = one.make()
        # A sum is no number where a part is none; only then is it worth a look at each.
        if not bool(made.sum(dtype=torch.float32).isfinite()) and not bool(made.isfinite().all()):
            raise ValueError(
                f"{place}: {one.name} holds what is no number; the weights are broken, copy them again"
            )
        return made

    return Outgoing(one.name, one.shape, one.dtype, make)


def _end_ids(folder: Path) -> dict[str, object]:
    """Return the ids that end a text where no file but the config says so."""
    if is_gguf(folder):
        return {"do_sample": True, **read_gguf(folder).generation}
    data = read_json(folder / CONFIG)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {"do_sample": True, **{name: data[name] for name in names if data.get(name) is not None}}
