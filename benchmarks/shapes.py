"""The shapes that are measured, and what a token costs in them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama kind and the batch it is trained on."""

    layers: int
    width: int
    vocabulary: int
    context: int
    batch: int
    tied: bool = False

    @property
    def heads(self) -> int:
        return self.width // 64

    @property
    def inner(self) -> int:
        """The width inside a gated feed-forward: 8/3 of the width, up to a multiple of 64."""
        return -(-8 * self.width // 3 // 64) * 64

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.context

    def flops_per_token(self, parameters: int) -> float:
        """Training cost: `parameters` leave the input embedding out and count the output head."""
        return 6 * parameters + 6 * self.layers * self.context * self.width


A = Shape(layers=6, width=256, vocabulary=4096, context=256, batch=16)
B = Shape(layers=8, width=512, vocabulary=8192, context=256, batch=8)

SHAPES = {
    "A": A,
    "B": B,
    # What fills the memory is the logits: 4,096 positions of 32,768 words.
    "A32k": replace(A, vocabulary=32_768),
    # For the GPU script: the sizes people know as GPT-2 small and medium.
    "124M": Shape(layers=12, width=768, vocabulary=50_304, context=1024, batch=16, tied=True),
    "350M": Shape(layers=24, width=1024, vocabulary=50_304, context=1024, batch=16, tied=True),
}
