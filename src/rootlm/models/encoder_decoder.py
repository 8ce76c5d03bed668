"""The Transformer encoder–decoder: reads a source both ways, then writes a target left to right."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rootlm.layers.cross_attention import Heard, SourceState
from rootlm.layers.initialise import initialise
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Embedding, Linear
from rootlm.layers.mixture import Mixture
from rootlm.layers.places import locate, surround
from rootlm.models.answers import answer
from rootlm.models.copying import Listened, Pointer
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.interface import All, Ask, Prediction, Source, SourceModel, State, checked_source
from rootlm.models.stack import Parts, Sizes, Stack


def _stack(config: EncoderDecoderConfig, depth: int, *, writes: bool) -> Stack:
    """Return the encoder, or the decoder, which `writes`."""
    assert config.hidden_size and config.n_heads and config.n_kv_heads and config.head_size
    assert config.norm and config.attention and config.position and config.feedforward and config.order
    sizes = (config.hidden_size, config.n_heads, config.n_kv_heads, config.head_size)
    parts = Parts(
        config.norm,
        config.attention,
        config.position,
        config.feedforward,
        config.order,
        config.embedding_norm,
    )
    return Stack(
        parts, Sizes(*sizes, config.context), depth=depth, share_dropped=config.dropout, writes=writes
    )


class EncoderDecoder(SourceModel):
    """A scaled embedding, or one for each side; an encoder; a decoder that listens to it; a head."""

    config: EncoderDecoderConfig
    context: int

    def __init__(self, config: EncoderDecoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config = config.resolved()
        assert config.hidden_size and config.encoder_depth
        self.vocab_size, self.context = vocab_size, config.context
        self.embedding = Embedding(vocab_size, config.hidden_size)
        self.source_embedding = (
            Embedding(config.source_vocab_size, config.hidden_size) if config.source_vocab_size else None
        )
        self.encoder = _stack(config, config.encoder_depth, writes=False)
        self.decoder = _stack(config, config.depth, writes=True)
        self.head = Linear(config.hidden_size, vocab_size, bias=config.head_bias)
        self.embedding_scale = config.embedding_scale or config.hidden_size**0.5
        self.pointer = Pointer(config.hidden_size) if config.copies else None
        self.tie()
        self.stream_dtype = None
        self._mixtures = [part for part in self.modules() if isinstance(part, Mixture)]
        initialise(self, config.depth)
        if self.pointer is not None:
            self.pointer.begin_by_saying()

    def compiled_parts(self) -> Iterable[nn.Module]:
        """Return the blocks."""
        return (*self.encoder.blocks, *self.decoder.blocks)

    def tie(self) -> None:
        """Make the head's matrix the embedding's, when the config says so."""
        if self.config.tied:
            self.head.weight = self.embedding.weight

    @property
    def dtype(self) -> torch.dtype:
        """The type of the stream: what was set for mixed precision, else the weights' own."""
        return self.stream_dtype or self.embedding.weight.dtype

    def begin(self, rows: int, capacity: int | None = None) -> SourceState:
        """Return an empty state for `rows` sequences that have read no source."""
        own = self._empty(rows, capacity)
        nothing = Source(own.lengths.new_zeros(rows, 0), torch.zeros_like(own.lengths))
        return SourceState(own, self._remembered(own.keys.new_zeros(rows, 0, self._width), nothing))

    def read(
        self, source: Tensor, lengths: Tensor | None = None, *, capacity: int | None = None
    ) -> SourceState:
        """Return a state that has read sources (rows, places) and nothing of their targets."""
        sizes = checked_source(source, lengths, self.context)
        own = self._empty(len(source), capacity)
        read = Source(source, sizes)
        return SourceState(own, self._remembered(self.encode(Source(source, lengths)), read))

    def encode(self, source: Source) -> Tensor:
        """Return what the encoder makes of sources, (rows, places, width)."""
        out: Tensor = self.encoder(
            self._embed(source.ids, self.source_embedding),
            surround(source.ids, self.dtype, lengths=source.lengths),
        )
        return out

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
        """Read `tokens` (batch, time) as `SourceModel.forward` says.

        Raises ValueError when the state and the tokens together, or a source, exceed the context.
        """
        assert state is None or (isinstance(state, SourceState) and source is None)
        held = tokens.shape[1] + (state.own.filled if state else 0)
        if held > self.context:
            raise ValueError(f"{held} tokens do not fit a context of {self.context}; shorten the text")
        last = self.config.depth - 1
        heard = self._heard(tokens, source) if state is None else state.heard
        listens = source is not None and (source.watched or self.pointer is not None)
        if state is not None or listens:
            heard = heard.watching(last)
        own = None if state is None else state.own
        hidden = self._written(tokens, own, (lengths, segments), heard)
        after = None if own is None else SourceState(own, heard.watching())
        shares = heard.weights[last].mean(1) if last in heard.weights else None
        values = self._answer(hidden, shares, heard.ids, lengths, ask)
        return Prediction(values, after, self._penalties(), shares)

    def attention(self, source: Source, tokens: Tensor) -> Tensor:
        """Return what each head of the decoder's last layer listens to: (rows, heads, time, places)."""
        last = self.config.depth - 1
        heard = self._heard(tokens, source).watching(last)
        self._written(tokens, None, (None, None), heard)
        return heard.weights[last]

    def flops_per_token(self) -> float:
        """Return 6 · weights used for one token of source or target, half of each, + what attention takes."""
        config = self.config
        assert config.n_heads and config.head_size and config.encoder_depth
        idle = sum(part.idle_weights for part in self._mixtures)
        used = sum(p.numel() for stack in (self.encoder, self.decoder) for p in stack.parameters()) - idle
        layers = config.encoder_depth + 2 * config.depth
        return (
            3.0 * (used + self.head.weight.numel())
            + 3.0 * layers * self.context * config.n_heads * config.head_size
        )

    def _answer(
        self, hidden: Tensor, shares: Tensor | None, ids: Tensor | None, lengths: Tensor | None, ask: Ask
    ) -> Tensor:
        if self.pointer is None:
            return answer(self.head, hidden, lengths, ask)
        if shares is None or ids is None:
            # Nothing was read: all is said, and in the same form.
            shares, ids = (
                hidden.new_zeros(*hidden.shape[:2], 0),
                torch.zeros(len(hidden), 0, dtype=torch.int64, device=hidden.device),
            )
        return self.pointer.answer(self.head, hidden, Listened(shares, ids), lengths, ask)

    @property
    def _width(self) -> int:
        return self.embedding.weight.shape[1]

    def _embed(self, ids: Tensor, table: Embedding | None = None) -> Tensor:
        read: Tensor = (table or self.embedding).read(ids, self.dtype) * self.embedding_scale
        return read

    def _heard(self, tokens: Tensor, source: Source | None) -> Heard:
        if source is None:
            return Heard(torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device), 0)
        sizes = checked_source(source.ids, source.lengths, self.context)
        return Heard(sizes, source.ids.shape[1], self.encode(source), ids=self._copied(source.ids))

    def _copied(self, ids: Tensor) -> Tensor | None:
        return None if self.pointer is None else ids

    def _written(
        self,
        tokens: Tensor,
        own: KeyValues | None,
        borders: tuple[Tensor | None, Tensor | None],
        heard: Heard,
    ) -> Tensor:
        """Return the decoder's stream; a state counts what was read."""
        lengths, segments = borders
        places = locate(tokens, own, lengths, segments, self.dtype if own is None else own.keys.dtype)
        hidden: Tensor = self.decoder(self._embed(tokens), places, own, heard)
        if own is not None:
            own.advance(tokens.shape[1], lengths, places.lows, segments)
        return hidden if self.config.head_scale is None else hidden * self.config.head_scale

    def _empty(self, rows: int, capacity: int | None) -> KeyValues:
        config = self.config
        assert config.n_kv_heads and config.head_size
        plain = self.embedding.weight.device.type == "cpu"
        dtype = torch.float32 if plain else self.dtype
        like = torch.empty(0, dtype=dtype, device=self.embedding.weight.device)
        room = min(config.context, capacity or 64)
        return KeyValues.empty(config.depth, rows, (config.n_kv_heads, room, config.head_size), like)

    def _remembered(self, encoded: Tensor, source: Source) -> Heard:
        """Return what every layer of the decoder keeps of encoded sources."""
        kept = [part.remember(encoded.to(self.dtype)) for part in self.decoder.listeners]
        keys, values = (torch.stack([pair[side] for pair in kept]) for side in (0, 1))
        like = torch.float32 if keys.device.type == "cpu" else self.dtype
        assert source.lengths is not None
        ids = self._copied(source.ids)
        return Heard(source.lengths, encoded.shape[1], keys=keys.to(like), values=values.to(like), ids=ids)

    def _penalties(self) -> dict[str, Tensor]:
        balances = [part.balance for part in self._mixtures if part.balance is not None]
        return {"balance": torch.stack(balances).mean()} if balances else {}
