"""How a sentence encoder makes a vector of a text: the files that sentence-transformers lays beside it, in and out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootlm.core.files import read_json, write_json
from rootlm.layers.pooling import Pooling

MODULES = "modules.json"
_SETTINGS = ("sentence_bert_config.json", "config_sentence_transformers.json")
_POOLING: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_NAMED: dict[str, Pooling] = {"cls": "cls", "mean": "mean", "max": "max", "lasttoken": "last"}


@dataclass(frozen=True)
class SentenceWay:
    """What becomes of the stream of a text."""

    pooling: Pooling = "mean"
    normalised: bool = True
    """Whether a vector has length 1."""
    longest: int | None = None
    """How many tokens of a text are read, its marks among them; None reads all."""


def sentence_way(folder: Path) -> SentenceWay | None:
    """Return what a folder says, None where it is no sentence encoder's.

    Raises ValueError naming a module or a key that is not supported.
    """
    place = folder / MODULES
    if not place.is_file():
        return None
    modules = read_json(place)
    if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules):
        raise ValueError(f"{place}: holds no list of modules; copy it again")
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        odd = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")] or kinds
        raise ValueError(
            f"{place}: {odd[0]} is not supported; rootlm reads a Transformer, then Pooling, then Normalize or nothing"
        )
    if modules[0].get("path"):
        raise ValueError(
            f"{place}: the encoder lies in {modules[0]['path']}; move its files beside {MODULES} and set path to "
            "nothing"
        )
    file = _inside(folder, modules[1]) / "config.json"
    return SentenceWay(_pooling(read_json(file), file), "Normalize" in kinds, _longest(folder))


def companions(folder: Path) -> list[str]:
    """Return the names of the files in a folder, below it too, that say how a text becomes a vector."""
    if sentence_way(folder) is None:
        return []
    _, pooling, *_ = read_json(folder / MODULES)
    held = (MODULES, f"{pooling['path']}/config.json", *_SETTINGS)
    return [name for name in held if (folder / name).is_file()]


def copy_way(source: Path, to: Path) -> None:
    """Copy the files that say how a text becomes a vector, if there are any."""
    for name in companions(source):
        (to / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, to / name)


def write_way(folder: Path, way: SentenceWay, hidden_size: int, context: int) -> None:
    """Write the files that say how a text becomes a vector of `hidden_size` numbers."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if way.normalised else [])]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(kinds)
    ]
    pooling = folder / str(modules[1]["path"])
    pooling.mkdir(exist_ok=True)
    modes = {name: how == way.pooling for name, how in _POOLING.items()}
    write_json(pooling / "config.json", {"word_embedding_dimension": hidden_size, **modes})
    longest = {"max_seq_length": way.longest or context, "do_lower_case": False}
    write_json(folder / _SETTINGS[0], longest)
    write_json(folder / MODULES, modules)


def _inside(folder: Path, module: dict[str, Any]) -> Path:
    name = str(module.get("path", ""))
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{folder / MODULES}: path {name!r} of a module is no folder beside it")
    return folder / name


def _pooling(data: Any, file: Path) -> Pooling:
    if not isinstance(data, dict):
        raise ValueError(f"{file}: holds a {type(data).__name__}, expected keys and values")
    named = data.get("pooling_mode")
    if named is not None:
        if named not in _NAMED:
            raise ValueError(
                f"{file}: pooling_mode={named!r} is not supported; rootlm has {', '.join(_NAMED)}"
            )
        return _NAMED[named]
    chosen = [key for key, value in data.items() if key.startswith("pooling_mode_") and value]
    odd = [key for key in chosen if key not in _POOLING]
    if odd or len(chosen) != 1:
        said = f"{odd[0]}=true is not supported" if odd else f"{len(chosen)} ways of pooling are set at once"
        raise ValueError(f"{file}: {said}; rootlm takes one of {', '.join(_POOLING)}")
    return _POOLING[chosen[0]]


def _longest(folder: Path) -> int | None:
    file = folder / _SETTINGS[0]
    if not file.is_file():
        return None
    data = read_json(file)
    longest = data.get("max_seq_length") if isinstance(data, dict) else None
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int) or longest < 3):
        raise ValueError(f"{file}: max_seq_length is {longest!r}, expected a whole number from 3 on")
    if isinstance(data, dict) and data.get("do_lower_case"):
        raise ValueError(f"{file}: do_lower_case=true is not supported; give it a tokenizer that lower-cases")
    return longest
