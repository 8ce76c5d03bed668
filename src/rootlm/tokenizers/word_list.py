"""A list of words, one a line in the order of their ids, as a tokenizer of texts that are cut at spaces."""

from __future__ import annotations

from pathlib import Path

import orjson

from rootlm.tokenizers import word_codec
from rootlm.tokenizers.added_tokens import added_token
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_files import Roles

_ENDS = ("<eos>", "</s>", "<|endoftext|>")
_BEGINS = ("<bos>", "<s>")
_UNKNOWN = ("<unk>", "<|unk|>", "[UNK]")
_PADS = ("<pad>", "<|pad|>", "[PAD]")


def read_word_list(file: Path) -> Tokenizer:
    """Read the list; a word that ends texts and one that stands for all others must be in it.

    The end begins texts too where no word does. Raises ValueError naming the line of a word that was given before,
    and the role that no word has.
    """
    try:
        # Words may hold characters that Python takes for the end of a line.
        lines = [line.removesuffix("\r") for line in file.read_bytes().decode("utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read ({error})") from error
    if not lines[-1]:
        lines.pop()
    vocabulary: dict[str, int] = {}
    for number, word in enumerate(lines):
        if not word or word in vocabulary:
            before = f"was given before, in line {vocabulary[word] + 1}" if word else "is empty"
            raise ValueError(f"{file}:{number + 1}: {word!r} {before}; each line is the word of one row")
        vocabulary[word] = number
    roles = Roles(
        bos=_first(vocabulary, (*_BEGINS, *_ENDS)) or "",
        eos=_needed(vocabulary, _ENDS, "ends a text", file),
        pad=_first(vocabulary, _PADS),
        unk=_needed(vocabulary, _UNKNOWN, "stands for words that are not in it", file),
    )
    names = dict.fromkeys(name for name in (roles.bos, roles.eos, roles.pad) if name)
    spec = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(vocabulary[name], name, special=True) for name in names],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": roles.unk},
    }
    settings = {"segmenter": "spaces", "segmenter_check": word_codec.segmenter_check("spaces")}
    return Tokenizer(orjson.dumps(spec).decode(), roles, settings)


def _first(vocabulary: dict[str, int], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in vocabulary), None)


def _needed(vocabulary: dict[str, int], names: tuple[str, ...], role: str, file: Path) -> str:
    found = _first(vocabulary, names)
    if found is None:
        raise ValueError(f"{file}: no word {role}; one of {', '.join(names)} must be in it")
    return found
