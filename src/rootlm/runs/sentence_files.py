"""How a folder of sentence-transformers makes a vector of a text: which tokens count, and that nothing comes after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rootlm.core.files import read_json
from rootlm.layers.pooling import Pooling

MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
FILES = (MODULES, POOLING, "sentence_bert_config.json", "config_sentence_transformers.json")
"""What such a folder holds beside the model's own files."""
_KNOWN: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_MODULES = ("Transformer", "Pooling", "Normalize")


def pooling_of(folder: Path) -> Pooling:
    """Return what a folder says that vectors of texts are made of; the mean where it says nothing.

    Vectors have length 1 here, whether or not the folder asks for it. Raises ValueError naming a way of making
    vectors, or a module behind it, that rootlm does not have.
    """
    if not folder.is_dir():
        return "mean"
    modules = folder / MODULES
    if modules.is_file():
        _check(modules, read_json(modules))
    file = folder / POOLING
    if not file.is_file():
        return "mean"
    data = read_json(file)
    if not isinstance(data, dict):
        raise ValueError(f"{file}: holds a {type(data).__name__}, expected keys and values")
    asked = [key for key, value in data.items() if key.startswith("pooling_mode_") and value is True]
    if isinstance(data.get("pooling_mode"), str):
        asked = [f"pooling_mode_{_SHORT.get(data['pooling_mode'], data['pooling_mode'])}"]
    if len(asked) != 1 or asked[0] not in _KNOWN:
        raise ValueError(
            f"{file}: {' with '.join(asked) or 'no pooling_mode'} is not supported; "
            f"rootlm has {', '.join(_KNOWN)}, one at a time: say pooling=cls, mean or last"
        )
    return _KNOWN[asked[0]]


_SHORT = {"cls": "cls_token", "mean": "mean_tokens"}


def _check(file: Path, modules: Any) -> None:
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules if isinstance(one, dict)]
    for kind in kinds:
        if kind not in _MODULES:
            raise ValueError(
                f"{file}: the module {kind} comes behind the encoder, and rootlm has no such part; "
                "its vectors would be others"
            )
