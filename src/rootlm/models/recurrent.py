"""The recurrent language model: an Elman network, GRU or LSTM between an embedding and a head.

Mikolov et al. 2010 (Elman), Zaremba et al. 2014 (LSTM), Merity et al. 2018 (its dropouts and widths).
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from rootlm.layers.cells import CELLS, CellName
from rootlm.layers.linear import Embedding, Linear
from rootlm.layers.norms import LayerNormConfig
from rootlm.layers.recurrent_layer import Recurrent
from rootlm.layers.steps import Steps
from rootlm.layers.variational import locked, without_words
from rootlm.models.network_config import NetworkConfig
from rootlm.models.streaming import Memory, StreamingModel


class RecurrentConfig(NetworkConfig):
    """Layers of recurrent cells between an embedding and a head."""

    free: ClassVar[tuple[str, ...]] = (
        "input_dropout",
        "hidden_dropout",
        "output_dropout",
        "embedding_dropout",
        "weight_dropout",
    )
    kind: Literal["recurrent"] = "recurrent"
    cell: CellName = "lstm"
    """rnn (Elman 1990), gru (Cho et al. 2014) or lstm (Hochreiter & Schmidhuber 1997)."""
    depth: int = Field(2, ge=1)
    """Layers."""
    hidden_size: int = Field(512, ge=1)
    """Cells in a layer."""
    embedding_size: int | None = Field(None, ge=1)
    """Width of the tables; none takes hidden_size. With `tied`, the last layer is as wide."""
    tied: bool = True
    """One matrix for the input and the output (Press & Wolf 2017)."""
    layer_norm: bool = False
    """Normalise what each layer and the head read (Ba et al. 2016); with Adam and `tied`, hardly anything is learned
    without."""
    residual: bool = False
    """Add what a layer reads to what it gives, where both are equally wide (He et al. 2016)."""
    input_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the embedding's places dropped, the same in all steps of a row (Gal & Ghahramani 2016)."""
    hidden_dropout: float = Field(0.0, ge=0, lt=1)
    """The same between layers."""
    output_dropout: float = Field(0.0, ge=0, lt=1)
    """The same before the head."""
    embedding_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the words that a batch does not see at all (Gal & Ghahramani 2016)."""
    weight_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the connections from step to step that a batch does without (Merity et al. 2018)."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> RecurrentConfig:
        if self.tied and self.depth == 1 and self.embedding_size not in (None, self.hidden_size):
            raise ValueError(
                f"a tied model of one layer has one width: hidden_size is {self.hidden_size} and embedding_size "
                f"{self.embedding_size}; leave out embedding_size, or set tied=false"
            )
        return self

    def resolved(self) -> RecurrentConfig:
        """Return the same network with every choice written out."""
        return self.model_copy(update={"embedding_size": self.embedding_size or self.hidden_size})

    @property
    def widths(self) -> list[int]:
        """The width of the embedding and of what each layer gives."""
        table = self.embedding_size or self.hidden_size
        return [table, *[self.hidden_size] * (self.depth - 1), table if self.tied else self.hidden_size]

    def build(self, vocab_size: int) -> RecurrentModel:
        """Return the network with fresh weights, drawn from torch's generator."""
        return RecurrentModel(self, vocab_size)


class RecurrentModel(StreamingModel):
    """Embedding, recurrent layers, head."""

    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config = config.resolved()
        self.vocab_size, self.context, self.stream_dtype = vocab_size, None, None
        widths = config.widths
        self.embedding = Embedding(vocab_size, widths[0])
        self.layers = nn.ModuleList(
            Recurrent(config.cell, width, hidden, config.weight_dropout) for width, hidden in pairwise(widths)
        )
        kept = widths if config.layer_norm else []
        self.norms = nn.ModuleList(LayerNormConfig().build(width) for width in kept)
        self.head = Linear(widths[-1], vocab_size, bias=True)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        nn.init.uniform_(self.head.weight, -0.05, 0.05)
        nn.init.zeros_(self.head.bias)
        self.tie()

    def tie(self) -> None:
        """Make the head's matrix the embedding's, when the config says so."""
        if self.config.tied:
            self.head.weight = self.embedding.weight

    @property
    def dtype(self) -> torch.dtype:
        """The type of the stream: what was set for mixed precision, else the weights' own."""
        return self.stream_dtype or self.embedding.weight.dtype

    def blank(self, rows: int) -> Memory:
        """Return zeros for every layer's vectors."""
        return tuple(part for layer in self._recurrent for part in layer.blank(rows))

    def trunk(self, tokens: Tensor, sizes: Tensor | None, memory: Memory) -> tuple[Tensor, Memory]:
        """Read the rows step by step, layer by layer."""
        config, (rows, time) = self.config, tokens.shape
        steps = Steps.of(rows, time, sizes, tokens.device)
        x = self._passed_on(self._embedded(steps.pack(tokens)), 0, steps)
        each, after = CELLS[config.cell].memories, list[Tensor]()
        for number, layer in enumerate(self._recurrent):
            held = tuple(steps.sort(part) for part in memory[number * each : (number + 1) * each])
            given, ends = layer(x, steps, held)
            after += [steps.restore(part) for part in ends]
            if config.residual and given.shape == x.shape:
                given = given + x
            x = self._passed_on(given, number + 1, steps)
        return steps.unpack(x, time), tuple(after)

    def flops_per_token(self) -> float:
        """Return 6 · (weights of the layers and the head)."""
        used = sum(parameter.numel() for parameter in self.layers.parameters()) + self.head.weight.numel()
        return 6.0 * used

    @property
    def _recurrent(self) -> list[Recurrent]:
        return [layer for layer in self.layers if isinstance(layer, Recurrent)]

    def _embedded(self, ids: Tensor) -> Tensor:
        x = self.embedding.read(ids, self.dtype)
        if self.training and self.config.embedding_dropout:
            x = without_words(x, ids, self.config.embedding_dropout, self.vocab_size)
        return x

    def _passed_on(self, x: Tensor, number: int, steps: Steps) -> Tensor:
        """Return what layer `number`, or the head after the last, reads of what the one before gave."""
        config = self.config
        if config.layer_norm:
            x = self.norms[number](x)
        if not self.training:
            return x
        share = config.output_dropout if number == config.depth else config.hidden_dropout
        return locked(x, share if number else config.input_dropout, steps)
