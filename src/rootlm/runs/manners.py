"""What a folder says of how its model is to speak: its generation config, and the older keys of its config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rootlm.core.files import read_json
from rootlm.generation.answering import START, Answering, answering_of
from rootlm.generation.sampling import Sampling, end_ids, from_generation_config
from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.hugging_face_folder import CONFIG, is_gguf, is_published
from rootlm.models.interface import Network, SourceModel

GENERATION_CONFIG = "generation_config.json"
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
ANSWERS = (
    START,
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "min_length",
    "max_length",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "renormalize_logits",
    "no_repeat_ngram_size",
    "repetition_penalty",
)
"""What an encoder–decoder's config says of answers where no generation config does."""
_MARKS = (START, "forced_bos_token_id", "forced_eos_token_id", "bad_words_ids", "suppress_tokens")


def manners_of(folder: Path) -> dict[str, Any]:
    """Return what a folder, or a GGUF file, says; empty where nothing does."""
    if is_gguf(folder):
        return {"do_sample": True, **read_gguf(folder).generation}
    told = (folder / GENERATION_CONFIG).is_file()
    said = _read(folder / GENERATION_CONFIG) if told else {}
    if not is_published(folder):
        return said
    older = _of_config(_read(folder / CONFIG))
    # Beside a generation config only the marks of a config count, as in `transformers`.
    kept = {name: value for name, value in older.items() if not told or name in (START, *_IDS)}
    return {**kept, **_given(said)}


def handed_on(origin: Path, own: Mapping[str, Any], *, asked: bool) -> dict[str, Any]:
    """Return the generation config of a run that goes on from the weights of `origin`; `own` follows from its recipe.

    What a published encoder–decoder began, ended and never said in answers stays so, since it learned them so. How
    it chose tokens stays too, unless the recipe `asked` for something.
    """
    said = manners_of(origin)
    if START not in said:
        return dict(own)
    kept = {name: value for name, value in said.items() if name in _MARKS}
    if asked:
        return {**own, **kept}
    return {"do_sample": False, **said, **{name: value for name, value in own.items() if name in _IDS}}


def _read(file: Path) -> dict[str, Any]:
    data = read_json(file)
    if not isinstance(data, dict):
        raise ValueError(f"{file}: holds a {type(data).__name__}, expected keys and values")
    for key in _IDS:
        value = data.get(key)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if any(isinstance(one, bool) or not isinstance(one, int) for one in listed):
            raise ValueError(f"{file}: {key} is {value!r}, expected an id or a list of ids")
    return data


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a published encoder–decoder's config says, in the words of a generation config."""
    if not config.get("is_encoder_decoder"):
        return {}
    said = _given({name: config.get(name) for name in ANSWERS})
    if START not in said and "bos_token_id" in said:
        said[START] = said["bos_token_id"]
    return said


def _given(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _longest(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an encoder–decoder with its older limit, which counts the begin mark too."""
    most = said.get("max_length")
    if START not in said or "max_new_tokens" in said or not isinstance(most, int) or most < 2:
        return dict(said)
    return {**said, "max_new_tokens": most - 1}


def speaking_of(folder: Path, model: Network) -> tuple[Sampling, frozenset[int], Answering | None]:
    """Return how a model chooses tokens, which end a text and how it answers, as far as its folder says."""
    data, file = manners_of(folder), folder if is_gguf(folder) else folder / GENERATION_CONFIG
    if not data and not is_published(folder):
        return Sampling(), frozenset(), None
    if not data:
        return Sampling(), _ends(read_json(folder / CONFIG), folder / CONFIG, model), None
    answers = isinstance(model, SourceModel)
    if answers and is_published(folder) and START not in data:
        raise ValueError(f"{folder / CONFIG}: names no {START}, so nothing says how an answer begins; add it")
    try:
        sampling, answering = from_generation_config(_longest(data)), answering_of(data) if answers else None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return sampling, _ends(data, file, model), answering


def _ends(data: Mapping[str, Any], file: Path, model: Network) -> frozenset[int]:
    ends, count = end_ids(data), model.vocab_size
    beyond = sorted(one for one in ends if not 0 <= one < count)
    if beyond:
        raise ValueError(
            f"{file}: eos_token_id names {beyond[0]}, which no text can end with: the model knows ids below {count:,}"
        )
    return ends
