"""Small language models with a real state, and tokenizers, for laws that hold whatever the model is."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from rootlm.models.interface import All, Ask, LanguageModel, Last, Prediction, Ranks, State, Targets
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_files import Roles

EVERY = All()


@dataclass
class Trail:
    """What a row remembered after 0, 1, 2 … tokens, (rows, time + 1, width): going back is a number."""

    memories: Tensor
    lengths: Tensor

    def select(self, rows: Tensor) -> Trail:
        return Trail(self.memories[rows].clone(), self.lengths[rows].clone())

    def join(self, other: Trail) -> Trail:
        time = max(self.memories.shape[1], other.memories.shape[1])
        memories = torch.cat([_widen(self.memories, time), _widen(other.memories, time)])
        return Trail(memories, torch.cat([self.lengths, other.lengths]))

    def rewind(self, counts: Tensor) -> Trail:
        if bool((counts > self.lengths).any()):
            raise ValueError("rewind goes back further than the row has read")
        return Trail(self.memories, self.lengths - counts)

    def now(self) -> Tensor:
        return self.memories[torch.arange(len(self.lengths)), self.lengths]

    def extend(self, memories: Tensor, lengths: Tensor) -> Trail:
        """Add memories of (rows, time, width), of which `lengths` (rows,) are real."""
        rows, time, width = memories.shape
        needed = int(self.lengths.max()) + time + 1
        grown = _widen(self.memories, max(needed, self.memories.shape[1]))
        places = (self.lengths[:, None] + 1 + torch.arange(time)).clamp(max=grown.shape[1] - 1)
        grown = grown.scatter(1, places[..., None].expand(rows, time, width), memories)
        return Trail(grown, self.lengths + lengths)


def _widen(memories: Tensor, time: int) -> Tensor:
    return nn.functional.pad(memories, (0, 0, 0, time - memories.shape[1]))


class Toy(LanguageModel):
    """Reads one token at a time with `step`; speaks with `head`; begins with `blank`."""

    def __init__(self, vocab_size: int, width: int, context: int | None) -> None:
        super().__init__()
        self.vocab_size, self.width, self.context = vocab_size, width, context

    def step(self, memory: Tensor, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def head(self, memory: Tensor) -> Tensor:
        raise NotImplementedError

    def begin(self, rows: int, capacity: int | None = None) -> Trail:
        like = next(self.parameters())
        return Trail(like.new_zeros(rows, 1, self.width), torch.zeros(rows, dtype=torch.int64))

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = EVERY,
    ) -> Prediction:
        rows, time = tokens.shape
        real = torch.full((rows,), time) if lengths is None else lengths
        trail = state if isinstance(state, Trail) else self.begin(rows)
        if self.context is not None and bool((trail.lengths + real > self.context).any()):
            raise AssertionError("read past the context")
        memory, memories = trail.now(), []
        for at in range(time):
            if segments is not None and at:
                memory = memory * (segments[:, at] == segments[:, at - 1])[:, None]
            memory = self.step(memory, tokens[:, at])
            memories.append(memory)
        seen = torch.stack(memories, 1)
        after = trail.extend(seen, real) if state is not None else None
        return Prediction(answer(self.head(seen), real, ask), after)


def answer(logits: Tensor, lengths: Tensor, ask: Ask) -> Tensor:
    """Answer any question from all logits, (batch, time, vocabulary)."""
    if isinstance(ask, Last):
        places = (lengths[:, None] - ask.count + torch.arange(ask.count)).clamp(min=0)
        return logits.gather(1, places[..., None].expand(-1, -1, logits.shape[-1]))
    if isinstance(ask, (Targets, Ranks)):
        asked = ask.ids >= 0
        logprobs = logits.log_softmax(-1)
        said = logprobs.gather(-1, ask.ids.clamp(min=0)[..., None])
        nats = torch.where(asked, -said[..., 0], 0.0)
        if isinstance(ask, Targets):
            return nats
        return torch.stack([nats, ((logprobs > said).sum(-1) * asked).float()], -1)
    return logits


class Bigram(Toy):
    """A table of logits by the last token."""

    def __init__(self, table: Tensor, context: int | None = None) -> None:
        super().__init__(len(table), 1, context)
        self.table = nn.Parameter(table)

    def step(self, memory: Tensor, tokens: Tensor) -> Tensor:
        return tokens[:, None].to(memory.dtype)

    def head(self, memory: Tensor) -> Tensor:
        return self.table[memory[..., 0].long()]


class Lstm(Toy):
    """One LSTM cell, whose answer depends on all that it has read."""

    def __init__(self, vocab_size: int, context: int | None = None, hidden: int = 8, seed: int = 0) -> None:
        super().__init__(vocab_size, 2 * hidden, context)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(vocab_size, hidden)
            self.cell = nn.LSTMCell(hidden, hidden)
            self.output = nn.Linear(hidden, vocab_size)
        for parameter in self.parameters():
            parameter.data.mul_(3.0)

    def step(self, memory: Tensor, tokens: Tensor) -> Tensor:
        hidden, cell = memory.chunk(2, -1)
        return torch.cat(self.cell(self.embedding(tokens), (hidden, cell)), -1)

    def head(self, memory: Tensor) -> Tensor:
        return self.output(memory.chunk(2, -1)[0])


def uniform(vocab_size: int, context: int | None = None) -> Bigram:
    """Return a model that finds every token equally likely."""
    return Bigram(torch.zeros(vocab_size, vocab_size), context)


def bigram(vocab_size: int, seed: int = 0, context: int | None = None) -> Bigram:
    """Return a bigram model with random logits."""
    generator = torch.Generator().manual_seed(seed)
    return Bigram(2 * torch.randn(vocab_size, vocab_size, generator=generator), context)


def byte_tokenizer(normalizer: object = None, merge: tuple[str, str] | None = None) -> Tokenizer:
    """Return a tokenizer whose ids are 0 for begin and end, one for each byte, and one for a pair of bytes."""
    pairs = [] if merge is None else ["".join(merge)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: number for number, name in enumerate(["<|endoftext|>", *alphabet, *pairs])}
    engine = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[] if merge is None else [merge]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.decoder = decoders.ByteLevel()
    if normalizer is not None:
        engine.normalizer = normalizer
    engine.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    return Tokenizer(engine.to_str(), Roles("<|endoftext|>", "<|endoftext|>", None, None))


def lowercase_tokenizer() -> Tokenizer:
    """Return the byte tokenizer, but every letter is made small first."""
    return byte_tokenizer(normalizers.Lowercase())
