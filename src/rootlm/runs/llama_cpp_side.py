"""A GGUF file as llama.cpp opens it, beside an opening of ours: ids, conversations, what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from rootlm.models.foreign.foreign_model import ForeignModel
from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.gguf_rotary import even_context
from rootlm.models.foreign.llama_cpp import LlamaCpp, llama_cpp
from rootlm.runs.opened_tokenizer import tokenizer_of
from rootlm.runs.parity_texts import Turns

_LONGEST = 1024
"""No text that is compared has more ids."""


class LlamaCppSide:
    """What llama.cpp makes of a file; of probabilities it tells those after the last id."""

    def __init__(self, file: Path, opened: LlamaCpp) -> None:
        held = read_gguf(file)
        self.name, self.opened_by = str(file), f"llama.cpp (xllamacpp {version('xllamacpp')})"
        # It takes texts that leave room for one token more.
        self.context: int | None = _room(held) - 1
        self._opened, self._vocab_size = opened, int(held.config["vocab_size"])
        self._template = held.chat_template
        # A begin mark that the template writes is taken away where one is set before every text.
        self._begin = tokenizer_of(file).name_of(held.config["bos_token_id"]) if _writes_begin(held) else ""

    def ids(self, text: str) -> list[int]:
        """Return the ids of plain text, without begin or end."""
        return self._opened.ids(text)

    def prompt_ids(self, text: str) -> list[int]:
        """Return what the model reads when a person gives it a text."""
        return self._opened.ids(text, marks=True)

    def turns(self, turns: Turns) -> tuple[str, list[int]] | None:
        """Return a conversation as text and ids, None without a chat template; raises ValueError where it refuses."""
        if not self._template:
            return None
        shown = self._opened.conversation(turns)
        text = shown if shown.startswith(self._begin) else self._begin + shown
        return text, self._opened.ids(text, special=True)

    def nats(self, ids: Sequence[int]) -> Tensor:
        """Return the logarithm of every token's probability after the last id (vocabulary,), float32."""
        return torch.tensor(self._opened.nats(ids, self._vocab_size))

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        """Return the likeliest continuation, up to a token that ends."""
        return self._opened.greedy(ids, count)


def _room(held: ForeignModel) -> int:
    return min(even_context(held.config) or _LONGEST, _LONGEST)


def _writes_begin(held: ForeignModel) -> bool:
    return "bos_token" in (held.chat_template or "") and "bos_token_id" in held.config


@contextmanager
def llama_cpp_side(file: Path, *, threads: int = 1) -> Iterator[LlamaCppSide]:
    """Open a file with llama.cpp; raises ValueError with its own words where it does not take the file."""
    with llama_cpp(file, context=_room(read_gguf(file)), threads=threads) as opened:
        yield LlamaCppSide(file, opened)
