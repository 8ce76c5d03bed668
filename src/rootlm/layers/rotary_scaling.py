"""How rotary positions are stretched to contexts longer than a model was first trained with."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from rootlm.core.config import Config


def plain_rates(theta: float, size: int) -> Tensor:
    """Return θ^(−2i/d), by which the pairs of `size` numbers turn at each step, (size / 2,) in float64."""
    return theta ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)


class LinearScaling(Config):
    """Positions are divided by a factor (Chen et al. 2023)."""

    kind: Literal["linear"] = "linear"
    factor: float = Field(gt=0)
    """How many times as long the context is."""

    def rates(self, theta: float, size: int, lengths: Tensor) -> Tensor:
        """Return what pairs turn by at each step, (pairs,), or (…, pairs) in texts of `lengths` (…) tokens."""
        return plain_rates(theta, size) / self.factor

    @property
    def gain(self) -> float:
        """What cosines and sines are multiplied by."""
        return 1.0

    @property
    def steady_until(self) -> int | None:
        """Up to which length all texts have the same rates; None when they always have."""
        return None


class DynamicScaling(Config):
    """The base grows with the text that is read, once it is longer than `original` (NTK-aware, bloc97 2023).

    A text that is read in parts beyond that length keeps the keys of its beginning, turned by an older base.
    """

    kind: Literal["dynamic"] = "dynamic"
    factor: float = Field(gt=0)
    """How many times as long the context may be."""
    original: int = Field(ge=1)
    """The context of the first training."""

    def rates(self, theta: float, size: int, lengths: Tensor) -> Tensor:
        """Return what pairs turn by at each step, (pairs,), or (…, pairs) in texts of `lengths` (…) tokens."""
        grown = self.factor * lengths.clamp(min=self.original) / self.original - (self.factor - 1)
        base = theta * grown.to(torch.float64) ** (size / (size - 2))
        exponents = torch.arange(0, size, 2, dtype=torch.float64, device=lengths.device) / size
        return base[..., None] ** -exponents

    @property
    def gain(self) -> float:
        """What cosines and sines are multiplied by."""
        return 1.0

    @property
    def steady_until(self) -> int | None:
        """Up to which length all texts have the same rates."""
        return self.original


class YarnScaling(Config):
    """Fast pairs turn as before, slow ones by a factor less, those between by a mixture (Peng et al. 2024)."""

    kind: Literal["yarn"] = "yarn"
    factor: float = Field(gt=0)
    """How many times as long the context is."""
    original: int = Field(ge=1)
    """The context of the first training."""
    attention_factor: float | None = Field(None, ge=0)
    """What cosines and sines are multiplied by; none takes the paper's 0.1 ln(factor) + 1."""
    beta_fast: float = 32.0
    """Pairs that turn so often within the first context, or oftener, are fast."""
    beta_slow: float = 1.0
    """Pairs that turn so seldom, or less often, are slow."""
    mscale: float | None = None
    """With `mscale_all_dim`, another way to say `attention_factor`."""
    mscale_all_dim: float | None = None
    """See `mscale`."""
    truncate: bool = True
    """Round the borders between fast and slow to whole pairs."""

    def rates(self, theta: float, size: int, lengths: Tensor) -> Tensor:
        """Return what pairs turn by at each step, (pairs,), or (…, pairs) in texts of `lengths` (…) tokens."""
        low, high = (self._pair(turns, theta, size) for turns in (self.beta_fast, self.beta_slow))
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, size - 1)
        width = (high - low) or 0.001
        slow = ((torch.arange(size // 2, dtype=torch.float64) - low) / width).clamp(0, 1)
        plain = plain_rates(theta, size)
        return plain / self.factor * slow + plain * (1 - slow)

    def _pair(self, turns: float, theta: float, size: int) -> float:
        """Return which pair turns so often within the first context."""
        return size * math.log(self.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    @property
    def gain(self) -> float:
        """What cosines and sines are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self._temper(self.mscale) / self._temper(self.mscale_all_dim)
        return self._temper(1.0)

    def _temper(self, scale: float) -> float:
        return 1.0 if self.factor <= 1 else 0.1 * scale * math.log(self.factor) + 1.0

    @property
    def steady_until(self) -> int | None:
        """Up to which length all texts have the same rates; None when they always have."""
        return None


class Llama3Scaling(Config):
    """Long waves are stretched by a factor, short ones stay, those between are blended, as in Llama 3.1."""

    kind: Literal["llama3"] = "llama3"
    factor: float = Field(gt=0)
    """How many times as long the context is."""
    low_freq_factor: float = 1.0
    """Waves longer than the first context over this are long."""
    high_freq_factor: float = 4.0
    """Waves shorter than the first context over this are short."""
    original: int = Field(ge=1)
    """The context of the first training."""

    def rates(self, theta: float, size: int, lengths: Tensor) -> Tensor:
        """Return what pairs turn by at each step, (pairs,), or (…, pairs) in texts of `lengths` (…) tokens."""
        plain = plain_rates(theta, size)
        turns = self.original * plain / (2 * math.pi)
        width = self.high_freq_factor - self.low_freq_factor
        short = ((turns - self.low_freq_factor) / width).clamp(0, 1)
        return plain / self.factor * (1 - short) + plain * short

    @property
    def gain(self) -> float:
        """What cosines and sines are multiplied by."""
        return 1.0

    @property
    def steady_until(self) -> int | None:
        """Up to which length all texts have the same rates; None when they always have."""
        return None


class LongRopeScaling(Config):
    """Each pair is slowed by a number of its own, by others once the text is long (Ding et al. 2024).

    A decoder reads a text again from its beginning once it has become long.
    """

    kind: Literal["longrope"] = "longrope"
    short_factor: tuple[Annotated[float, Field(gt=0)], ...]
    """What pairs are slowed by in texts up to `original`."""
    long_factor: tuple[Annotated[float, Field(gt=0)], ...]
    """What they are slowed by in longer ones."""
    original: int = Field(ge=1)
    """The context of the first training."""
    attention_factor: float = Field(1.0, ge=0)
    """What cosines and sines are multiplied by."""

    def rates(self, theta: float, size: int, lengths: Tensor) -> Tensor:
        """Return what pairs turn by at each step, (pairs,), or (…, pairs) in texts of `lengths` (…) tokens."""
        short, long = (
            (plain_rates(theta, size) / torch.tensor(slowed, dtype=torch.float64)).to(lengths.device)
            for slowed in (self.short_factor, self.long_factor)
        )
        return torch.where((lengths > self.original)[..., None], long, short)

    @property
    def gain(self) -> float:
        """What cosines and sines are multiplied by."""
        return self.attention_factor

    @property
    def steady_until(self) -> int | None:
        """Up to which length all texts have the same rates."""
        return self.original


RotaryScaling = Annotated[
    LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling | LongRopeScaling,
    Field(discriminator="kind"),
]
