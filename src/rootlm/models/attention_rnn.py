"""The recurrent encoder–decoder with attention: what was read is looked up anew for every token that is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rootlm.layers.dropout import dropout
from rootlm.layers.initialise import initialise
from rootlm.layers.linear import Embedding, Linear
from rootlm.models.answers import answer
from rootlm.models.interface import All, Ask, Prediction, Source, SourceModel, State, checked_source
from rootlm.models.network_config import NetworkConfig

Score = Literal["additive", "dot", "general"]
"""How a query q and a place's h are compared: vᵀ tanh(W q + U h) (Bahdanau et al. 2015), qᵀ h or qᵀ U h (Luong et
al. 2015)."""
_UNLABELLED = -1


class RecurrentEncoderDecoderConfig(NetworkConfig):
    """A recurrent encoder that reads both ways, and a recurrent decoder that attends to it.

    With `additive` attention a token's query is what the decoder remembers before it, and what was heard is read
    with the token (Bahdanau). With `dot` and `general` the query is what it remembers after the token, and what was
    heard is read with the next one (Luong, with input feeding).
    """

    # How many ids sources have is told by the run's tokenizer.
    free: ClassVar[tuple[str, ...]] = ("source_vocab_size",)
    kind: Literal["recurrent_encoder_decoder"] = "recurrent_encoder_decoder"
    cell: Literal["gru", "lstm"] = "gru"
    """What reads: Cho et al. 2014, or Hochreiter & Schmidhuber 1997."""
    attention: Score = "additive"
    """How the decoder finds what it needs of the source."""
    hidden_size: int = Field(256, ge=2, multiple_of=2)
    """Width of the decoder's memory, and of the encoder's two directions together."""
    embedding_size: int | None = Field(None, ge=1)
    """Width of the embeddings; none takes hidden_size."""
    encoder_layers: int = Field(1, ge=1)
    """Recurrent layers of the encoder."""
    tied: bool = True
    """One matrix for the target's input and the output; needs an embedding as wide as the memory."""
    source_vocab_size: int | None = Field(None, ge=1)
    """Ids of the source, where it has a tokenizer and a table of its own; none: it shares the target's."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped after the embeddings and before the head."""

    def reading(self, source_vocab_size: int) -> RecurrentEncoderDecoderConfig:
        """Return the same network for sources with so many ids of their own."""
        return self.model_copy(update={"source_vocab_size": source_vocab_size})

    def resolved(self) -> RecurrentEncoderDecoderConfig:
        """Return the same network with every choice written out; raises ValueError where sizes do not fit."""
        size = self.embedding_size or self.hidden_size
        if self.tied and size != self.hidden_size:
            raise ValueError(
                f"tied needs embedding_size {size} to be hidden_size {self.hidden_size}; set tied=false"
            )
        return self.model_copy(update={"embedding_size": size})

    def build(self, vocab_size: int) -> RecurrentEncoderDecoder:
        """Return the network with fresh weights, drawn from torch's generator."""
        return RecurrentEncoderDecoder(self, vocab_size)


@dataclass(frozen=True)
class Listened:
    """Sources: `encoded` and the `keys` made of it (rows, places, hidden), `blank` (rows, memory) to begin with."""

    encoded: Tensor
    keys: Tensor
    lengths: Tensor
    blank: Tensor

    def select(self, rows: Tensor) -> Listened:
        """Return a copy with the given rows, in that order."""
        return Listened(self.encoded[rows], self.keys[rows], self.lengths[rows], self.blank[rows])

    def join(self, other: Listened) -> Listened:
        """Return the sources of both, these first."""
        places = max(self.encoded.shape[1], other.encoded.shape[1])
        pairs = ((self.encoded, other.encoded), (self.keys, other.keys))
        encoded, keys = (torch.cat([_longer(one, places) for one in pair]) for pair in pairs)
        lengths, blank = torch.cat([self.lengths, other.lengths]), torch.cat([self.blank, other.blank])
        return Listened(encoded, keys, lengths, blank)


@dataclass(frozen=True)
class Trail:
    """What every row remembered after 0, 1, 2 … tokens of its target, so that going back is a number.

    `memories` (rows, time + 1, memory) and `labels` (rows, time + 1), the segment of each token.
    """

    source: Listened
    memories: Tensor
    labels: Tensor
    lengths: Tensor

    def select(self, rows: Tensor) -> Trail:
        """Return a copy with the given rows, in that order."""
        return Trail(self.source.select(rows), self.memories[rows], self.labels[rows], self.lengths[rows])

    def join(self, other: Trail) -> Trail:
        """Return a state with the rows of both, these first."""
        time = max(self.memories.shape[1], other.memories.shape[1])
        memories = torch.cat([_longer(self.memories, time), _longer(other.memories, time)])
        labels = torch.cat([_longer(one.labels[..., None], time)[..., 0] for one in (self, other)])
        return Trail(
            self.source.join(other.source), memories, labels, torch.cat([self.lengths, other.lengths])
        )

    def rewind(self, counts: Tensor) -> Trail:
        """Return a state in which each row has forgotten its last `counts[row]` tokens."""
        if bool((counts > self.lengths).any()):
            raise ValueError("rewind goes back further than the row has read")
        return replace(self, lengths=self.lengths - counts)

    def now(self) -> tuple[Tensor, Tensor]:
        """Return what each row remembers, and the segment it is in."""
        rows = torch.arange(len(self.lengths), device=self.lengths.device)
        return self.memories[rows, self.lengths], self.labels[rows, self.lengths]

    def after(self, memories: Tensor, labels: Tensor, real: Tensor) -> Trail:
        """Add what rows remembered of new tokens (rows, time, memory), of which `real` (rows,) are theirs."""
        rows, time, width = memories.shape
        needed = int(self.lengths.max()) + time + 1 if rows else 1
        held = _longer(self.memories, max(needed, self.memories.shape[1]))
        named = _longer(self.labels[..., None], held.shape[1])[..., 0]
        places = self.lengths[:, None] + 1 + torch.arange(time, device=self.lengths.device)
        held = held.scatter(1, places[..., None].expand(rows, time, width), memories)
        return Trail(self.source, held, named.scatter(1, places, labels), self.lengths + real)


class RecurrentEncoderDecoder(SourceModel):
    """One embedding, or one for each side, an encoder both ways, a decoder's cell, attention between them, a head."""

    config: RecurrentEncoderDecoderConfig
    context = None

    def __init__(self, config: RecurrentEncoderDecoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config = config.resolved()
        assert config.embedding_size is not None
        self.vocab_size, width, size = vocab_size, config.hidden_size, config.embedding_size
        self.embedding = Embedding(vocab_size, size)
        self.source_embedding = (
            Embedding(config.source_vocab_size, size) if config.source_vocab_size else None
        )
        self.dropout = dropout(config.dropout)
        kind, cell = (nn.GRU, nn.GRUCell) if config.cell == "gru" else (nn.LSTM, nn.LSTMCell)
        self.encoder = kind(size, width // 2, config.encoder_layers, batch_first=True, bidirectional=True)
        self.first = Linear(width // 2, width, bias=True)
        self.cell = cell(size + width, width)
        self.keys = nn.Identity() if config.attention == "dot" else Linear(width, width, bias=False)
        additive = config.attention == "additive"
        self.query = Linear(width, width, bias=True) if additive else nn.Identity()
        self.weigh = Linear(width, 1, bias=False) if additive else nn.Identity()
        self.mix = Linear(2 * width + (size if additive else 0), width, bias=additive)
        self.head = Linear(width, vocab_size, bias=False)
        self.tie()
        self.stream_dtype = None
        initialise(self, 1)
        # Nothing normalises what a cell reads: with smaller embeddings it hardly hears them at first.
        for table in (self.embedding, self.source_embedding):
            if table is not None:
                nn.init.normal_(table.weight, std=size**-0.5)

    def tie(self) -> None:
        """Make the head's matrix the embedding's, when the config says so."""
        if self.config.tied:
            self.head.weight = self.embedding.weight

    def begin(self, rows: int, capacity: int | None = None) -> Trail:
        """Return an empty state for `rows` sequences that have read no source."""
        return _begun(self._silence(rows))

    def read(self, source: Tensor, lengths: Tensor | None = None, *, capacity: int | None = None) -> Trail:
        """Return a state that has read sources (rows, places) and nothing of their targets."""
        return _begun(self.listen(Source(source, lengths)))

    def listen(self, source: Source) -> Listened:
        """Return what the encoder makes of sources."""
        sizes = checked_source(source.ids, source.lengths, None)
        table = self.source_embedding or self.embedding
        x = self.dropout(table.read(source.ids, table.weight.dtype))
        packed = pack_padded_sequence(x, sizes.cpu(), batch_first=True, enforce_sorted=False)
        places = source.ids.shape[1]
        encoded, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=places)
        # What the backward direction knows at the first place has seen the whole source.
        hidden = torch.tanh(self.first(encoded[:, 0, self.config.hidden_size // 2 :]))
        blank = torch.cat([hidden, hidden.new_zeros(len(hidden), self._memory - hidden.shape[1])], 1)
        return Listened(encoded, self.keys(encoded), sizes, blank)

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = All(),
        source: Source | None = None,
    ) -> Prediction:
        """Read `tokens` (batch, time) as `SourceModel.forward` says."""
        assert state is None or (isinstance(state, Trail) and source is None)
        rows, time = tokens.shape
        trail = state or _begun(self._silence(rows) if source is None else self.listen(source))
        said, memories, labels, shares = self._written(tokens, trail, segments)
        after = None
        if state is not None:
            real = torch.full_like(trail.lengths, time) if lengths is None else lengths
            after = trail.after(memories, labels, real)
        asked = state is not None or (source is not None and source.watched)
        heard = shares if asked and shares.shape[-1] else None
        return Prediction(answer(self.head, self.dropout(said), lengths, ask), after, {}, heard)

    def attention(self, source: Source, tokens: Tensor) -> Tensor:
        """Return what each token of the targets listens to, one head: (rows, 1, time, places)."""
        return self._written(tokens, _begun(self.listen(source)), None)[3][:, None]

    def flops_per_token(self) -> float:
        """Return 6 · weights used for one token of source or target, half of each; what attention takes is left out."""
        tables = 1 if self.config.tied else 2
        used = sum(parameter.numel() for parameter in self.parameters())
        apart = 0 if self.source_embedding is None else self.source_embedding.weight.numel()
        return 3.0 * (used - tables * self.embedding.weight.numel() - apart + self.head.weight.numel())

    @property
    def _memory(self) -> int:
        """How many numbers a row remembers: hidden, an LSTM's cell, what Luong's decoder feeds to the next token."""
        kept = 1 + (self.config.cell == "lstm") + (self.config.attention != "additive")
        return kept * self.config.hidden_size

    def _silence(self, rows: int) -> Listened:
        like = self.embedding.weight
        nothing = like.new_zeros(rows, 0, self.config.hidden_size)
        lengths = torch.zeros(rows, dtype=torch.int64, device=like.device)
        return Listened(nothing, nothing, lengths, like.new_zeros(rows, self._memory))

    def _written(
        self, tokens: Tensor, trail: Trail, segments: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features, memories, segments and attention of every token, each (rows, time, …)."""
        memory, label = trail.now()
        embedded = self.dropout(self.embedding.read(tokens, self.embedding.weight.dtype))
        source, steps = trail.source, []
        hidden_places = torch.arange(source.keys.shape[1], device=tokens.device) >= source.lengths[:, None]
        for place in range(tokens.shape[1]):
            if segments is not None:
                fresh = (segments[:, place] != label) & (label != _UNLABELLED)
                memory = torch.where(fresh[:, None], source.blank, memory)
                label = segments[:, place]
            said, memory, shares = self._step(embedded[:, place], memory, source, hidden_places)
            steps.append((said, memory, label, shares))
        said, memories, labels, shares = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        return said, memories, labels, shares

    def _step(
        self, x: Tensor, memory: Tensor, source: Listened, hidden_places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read one token of every row: returns its features, what is remembered, what was listened to."""
        width = self.config.hidden_size
        if self.config.attention == "additive":
            heard, shares = self._heard(memory[:, :width], source, hidden_places)
            memory = self._moved(torch.cat([x, heard], 1), memory)
            return torch.tanh(self.mix(torch.cat([memory[:, :width], heard, x], 1))), memory, shares
        own, fed = memory[:, :-width], memory[:, -width:]
        own = self._moved(torch.cat([x, fed], 1), own)
        heard, shares = self._heard(own[:, :width], source, hidden_places)
        said = torch.tanh(self.mix(torch.cat([heard, own[:, :width]], 1)))
        return said, torch.cat([own, said], 1), shares

    def _moved(self, x: Tensor, memory: Tensor) -> Tensor:
        if self.config.cell == "gru":
            moved: Tensor = self.cell(x, memory)
            return moved
        hidden, cell = memory.chunk(2, 1)
        return torch.cat(self.cell(x, (hidden, cell)), 1)

    def _heard(self, query: Tensor, source: Listened, hidden_places: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ share · encoded and the shares; a row without a source hears nothing."""
        if not source.keys.shape[1]:
            return torch.zeros_like(query), query.new_zeros(len(query), 0)
        if self.config.attention == "additive":
            scores = self.weigh(torch.tanh(self.query(query)[:, None] + source.keys))[..., 0]
        else:
            scores = (source.keys @ query[..., None])[..., 0]
        silent = (source.lengths == 0)[:, None]
        scores = scores.masked_fill(hidden_places & ~silent, float("-inf"))
        shares = scores.softmax(-1) * ~silent
        return (shares[:, None] @ source.encoded)[:, 0], shares


def _begun(source: Listened) -> Trail:
    labels = torch.full((len(source.lengths), 1), _UNLABELLED, device=source.lengths.device)
    return Trail(source, source.blank[:, None], labels, torch.zeros_like(source.lengths))


def _longer(held: Tensor, time: int) -> Tensor:
    return nn.functional.pad(held, (0, 0, 0, time - held.shape[1]))
