"""The tokenizer of a run, of a published folder, or within a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from rootlm.core.files import write_json, write_text
from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.hugging_face_folder import is_gguf
from rootlm.tokenizers.tokenizer import Tokenizer


def tokenizer_of(path: Path) -> Tokenizer:
    """Open the tokenizer of a run, of a published folder, or of a GGUF file; raises ValueError where there is none."""
    if not is_gguf(path):
        return Tokenizer.load(path)
    held = read_gguf(path)
    if held.tokenizer_json is None:
        raise ValueError(f"{path}: holds no tokenizer that rootlm reads; take a file that has one")
    spec = orjson.loads(held.tokenizer_json)
    named = {token["id"]: token["content"] for token in spec.get("added_tokens", ())}
    named |= {number: token for token, number in _entries(spec["model"]["vocab"])}
    settings: dict[str, Any] = {"chat_template": held.chat_template}
    for role in ("bos", "eos", "pad"):
        settings[f"{role}_token"] = named.get(held.config.get(f"{role}_token_id"))
    with TemporaryDirectory(prefix="rootlm-gguf-") as temporary:
        folder = Path(temporary)
        write_text(folder / "tokenizer.json", held.tokenizer_json)
        given = {name: value for name, value in settings.items() if value is not None}
        write_json(folder / "tokenizer_config.json", given)
        return Tokenizer.load(folder)


def _entries(vocabulary: Mapping[str, int] | Sequence[Sequence[Any]]) -> Iterator[tuple[str, int]]:
    if isinstance(vocabulary, Mapping):
        yield from vocabulary.items()
    else:
        yield from ((one[0], number) for number, one in enumerate(vocabulary))
