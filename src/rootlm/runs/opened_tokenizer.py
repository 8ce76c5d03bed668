"""The tokenizer of a run, of a published folder, or within a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from rootlm.core.files import write_json, write_text
from rootlm.generation.answering import START, start_of
from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.hugging_face_folder import CONFIG, is_gguf, is_published
from rootlm.models.interface import Network
from rootlm.runs.manners import manners_of
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER
from rootlm.tokenizers.piece_pair import SOURCE, is_pair
from rootlm.tokenizers.tokenizer import SOURCE_TOKENIZER, Tokenizer


def tokenizer_of(path: Path, *, pad: str | None = None, pattern: str | None = None) -> Tokenizer:
    """Open the tokenizer of a run, of a published folder, or of a GGUF file; raises ValueError where there is none.

    `pad` names the token that fills rows where the file's own will not do; empty, that nothing does.
    `pattern` says how the text of a file of ranks is cut.
    """
    if not is_gguf(path):
        try:
            start = start_of(manners_of(path))
        except ValueError as error:
            place = str(path)
            raise error if place in str(error) else ValueError(f"{place}: {error}") from error
        tokenizer = _silent(Tokenizer.load(path, pad=pad, pattern=pattern), published=is_published(path))
        return tokenizer if start is None else _beginning(tokenizer, start, path)
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
        try:
            return _silent(Tokenizer.load(folder, pad=pad), published=True)
        except ValueError as error:
            # The file holds both, under names of its own.
            said = str(error).replace(f"{folder}/tokenizer.json", str(path))
            said = said.replace(f"{folder}/tokenizer_config.json", str(path)).replace(str(folder), str(path))
            raise ValueError(said) from error


def source_tokenizer_of(path: Path) -> Tokenizer | None:
    """Open the tokenizer of sources, of a run or of a folder of Marian's; None where both sides have one."""
    if (path / SOURCE_TOKENIZER).is_dir():
        return Tokenizer.load(path / SOURCE_TOKENIZER)
    if is_pair(path) and not (path / TOKENIZER).is_file():
        return Tokenizer.load(path / SOURCE)
    return None


def reader_of(folder: Path, model: Network, tokenizer: Tokenizer) -> Tokenizer | None:
    """Return the tokenizer of sources, where they have one of their own; its ids may be those of the other."""
    reader = source_tokenizer_of(folder)
    wanted = getattr(model.config, "source_vocab_size", None)
    shared = wanted is None and reader is not None and reader.vocab_size == tokenizer.vocab_size
    if wanted != (reader.vocab_size if reader else None) and not shared:
        found = f"{reader.vocab_size:,} tokens" if reader else "is missing"
        raise ValueError(
            f"{folder / SOURCE_TOKENIZER}: {found}, {CONFIG} says {wanted}; they belong to different runs, copy both "
            "from the same one"
        )
    return reader


def _silent(tokenizer: Tokenizer, *, published: bool) -> Tokenizer:
    """Let nothing stand before a text where a published tokenizer says nothing of it; ours is always marked."""
    if not published or tokenizer.says_how_texts_begin:
        return tokenizer
    return tokenizer.with_begin(marked=False)


def _beginning(tokenizer: Tokenizer, start: int, path: Path) -> Tokenizer:
    """Return a published encoder–decoder's tokenizer with the begin mark of its answers."""
    if not tokenizer.knows(start):
        raise ValueError(
            f"{path}: {START} is {start}, which its tokenizer does not know; copy both from one model"
        )
    return tokenizer.beginning_with(start)


def _entries(vocabulary: Mapping[str, int] | Sequence[Sequence[Any]]) -> Iterator[tuple[str, int]]:
    if isinstance(vocabulary, Mapping):
        yield from vocabulary.items()
    else:
        yield from ((one[0], number) for number, one in enumerate(vocabulary))
