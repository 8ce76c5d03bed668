"""A GGUF file as llama.cpp opens it, beside an opening of ours: ids, conversations, what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.llama_cpp import LlamaCpp, llama_cpp
from rootlm.runs.parity_texts import Turns

_LONGEST = 1024
"""No text that is compared has more ids."""


class LlamaCppSide:
    """What llama.cpp makes of a file; of probabilities it tells those after the last id."""

    def __init__(self, file: Path, opened: LlamaCpp) -> None:
        held = read_gguf(file)
        self.name, self.opened_by = str(file), f"llama.cpp (xllamacpp {version('xllamacpp')})"
        reach = int(held.config.get("max_position_embeddings") or held.config["n_positions"])
        # It takes texts that leave room for one token more.
        self.context = min(reach, _LONGEST) - 1
        self._opened, self._vocab_size = opened, int(held.config["vocab_size"])
        self._converses = bool(held.chat_template)

    def ids(self, text: str) -> list[int]:
        """Return the ids of plain text, without begin or end."""
        return self._opened.ids(text)

    def prompt_ids(self, text: str) -> list[int]:
        """Return what the model reads when a person gives it a text."""
        return self._opened.ids(text, marks=True)

    def turns(self, turns: Turns) -> tuple[str, list[int]] | None:
        """Return a conversation as text and ids, None without a chat template; raises ValueError where it refuses."""
        if not self._converses:
            return None
        text = self._opened.conversation(turns)
        return text, self._opened.ids(text, special=True)

    def nats(self, ids: Sequence[int]) -> Tensor:
        """Return the logarithm of every token's probability after the last id (vocabulary,), float32."""
        return torch.tensor(self._opened.nats(ids, self._vocab_size))

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        """Return the likeliest continuation, up to a token that ends."""
        return self._opened.greedy(ids, count)


@contextmanager
def llama_cpp_side(file: Path, *, threads: int = 1) -> Iterator[LlamaCppSide]:
    """Open a file with llama.cpp; raises ValueError with its own words where it does not take the file."""
    with llama_cpp(file, context=_LONGEST, threads=threads) as opened:
        yield LlamaCppSide(file, opened)
