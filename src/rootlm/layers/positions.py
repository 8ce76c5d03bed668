"""How a model knows the order of tokens: rotary, learned, sinusoidal, ALiBi, relative, or not at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rootlm.core.config import Config
from rootlm.layers.linear import Embedding
from rootlm.layers.rotary_scaling import LongRopeScaling, RotaryScaling, plain_rates

if TYPE_CHECKING:
    from rootlm.layers.places import Places

_FIRST_POSITIONS = 1024


class Positions(nn.Module):
    """The three doors by which a position can enter; each kind overrides the one it uses."""

    biased = False
    """Whether `bias` says something."""

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return the stream (batch, time, width) with positions added."""
        return x

    def rotation(self, places: Places, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return cosines and sines (batch, time, 1, turned) with which queries and keys turn, or None."""
        return None

    def window_rotation(self, places: Places, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return the same for layers that have a window, where they turn by something else."""
        return None

    def bias(self, distances: Tensor) -> Tensor:
        """Return what is added to scores, (batch, heads, time, keys), of distances (batch, time, keys) back."""
        raise NotImplementedError


class Rotary(Positions):
    """Turns each pair (x_i, x_{i+d/2}) by position · θ^(−2i/d) (Su et al. 2021), d being the `turned` width."""

    def __init__(self, context: int, turned: int, config: RotaryConfig) -> None:
        super().__init__()
        self.context, self.turned, self.theta, self.scaling = context, turned, config.theta, config.scaling
        self._tables: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self._within_window: Rotary | None = None
        if config.window_theta is not None:
            own = RotaryConfig(theta=config.window_theta, share=config.share)
            self._within_window = Rotary(context, turned, own)

    def rotation(self, places: Places, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        positions, steady = places.positions, None if self.scaling is None else self.scaling.steady_until
        if steady is None or places.keys <= steady:
            turned = self.table(positions.device, dtype, places.keys)[positions]
        else:
            turned = self._angles(positions, places.text_lengths()).to(dtype)
        cos, sin = turned.unbind(-2)
        return cos.unsqueeze(-2), sin.unsqueeze(-2)

    def window_rotation(self, places: Places, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        return None if self._within_window is None else self._within_window.rotation(places, dtype)

    def table(self, device: torch.device, dtype: torch.dtype, keys: int | None = None) -> Tensor:
        """Return cosines and sines of every position, (positions, 2, turned): `keys` of them or more, or all."""
        held, wanted = self._tables.get((device, dtype)), self.context if keys is None else keys
        if held is None or len(held) < wanted:
            # A context of 131,072 would take more memory than a small model's weights.
            count = min(self.context, max(_FIRST_POSITIONS, 1 << (wanted - 1).bit_length()))
            held = self._angles(torch.arange(count, device=device), torch.ones((), device=device)).to(dtype)
            self._tables[device, dtype] = held
        return held

    def _angles(self, positions: Tensor, lengths: Tensor) -> Tensor:
        """Return cosines and sines (…, 2, turned) of positions (…) in texts of `lengths` (… or none) tokens."""
        # Angles are made in float64 and rounded once: a bfloat16 position is wrong from 257 on.
        scaling, gain = self.scaling, 1.0
        if scaling is None:
            rates = plain_rates(self.theta, self.turned)
        else:
            rates, gain = scaling.rates(self.theta, self.turned, lengths), scaling.gain
        angles = positions[..., None] * rates.to(positions.device)
        cos, sin = angles.cos() * gain, angles.sin() * gain
        return torch.stack([torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)], -2)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn x (batch, time, heads, head_size) by a rotation, or the first part of it by a narrower one."""
    cos, sin = rotation
    turned = cos.shape[-1]
    if turned < x.shape[-1]:
        return torch.cat([rotate(x[..., :turned], rotation), x[..., turned:]], -1)
    half = turned // 2
    return torch.addcmul(x * cos, torch.cat([x[..., half:], x[..., :half]], -1), sin)


class Learned(Positions):
    """One learned vector per position, added to the stream (as in GPT-2)."""

    def __init__(self, context: int, width: int, offset: int = 0) -> None:
        super().__init__()
        self.table, self.offset = Embedding(offset + context, width), offset

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self.table.read(positions + self.offset if self.offset else positions, x.dtype)


class Sinusoidal(Positions):
    """sin and cos of position / 10000^(2i/d), added to the stream (Vaswani et al. 2017).

    They take turns, or with `halves` all sines come first.
    """

    def __init__(self, width: int, *, halves: bool = False) -> None:
        super().__init__()
        self.width, self.halves = width, halves

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        pairs = torch.arange(0, self.width, 2, dtype=torch.float64, device=x.device)
        angles = positions[..., None] * 10000.0 ** -(pairs / self.width)
        if self.halves:
            waves = torch.cat([angles.sin(), angles[..., : self.width // 2].cos()], -1)
        else:
            waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)
        return x + waves[..., : x.shape[-1]].to(x.dtype)


class Alibi(Positions):
    """A penalty on distance, linear, steeper for each head (Press et al. 2022)."""

    biased = True

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads

    def bias(self, distances: Tensor) -> Tensor:
        slopes = torch.tensor(alibi_slopes(self.n_heads), device=distances.device)
        return -slopes[:, None, None] * distances.abs()[:, None]


class Relative(Positions):
    """A learned number per head for the distance of two tokens, in buckets that widen with it (Raffel et al. 2020).

    All layers share them. Looking both ways, half of the buckets are for what comes after.
    """

    biased = True

    def __init__(self, n_heads: int, *, buckets: int, longest: int, both_ways: bool) -> None:
        super().__init__()
        self.buckets, self.longest, self.both_ways = buckets, longest, both_ways
        self.table = Embedding(buckets, n_heads)

    def bias(self, distances: Tensor) -> Tensor:
        return self.table.read(self.bucket(distances), self.table.weight.dtype).movedim(-1, 1)

    def bucket(self, distances: Tensor) -> Tensor:
        """Return the bucket of each distance back: one each for the near, then ever wider ones up to `longest`."""
        buckets, after = self.buckets, torch.zeros_like(distances)
        if self.both_ways:
            buckets //= 2
            after = (distances < 0) * buckets
            distances = distances.abs()
        near = distances.clamp(min=0)
        exact = buckets // 2
        # In this order, which is T5's: rounding decides where a power of two falls.
        steps = (near.clamp(min=1).float() / exact).log() / math.log(self.longest / exact)
        far = exact + (steps * (buckets - exact)).long()
        return after + torch.where(near < exact, near, far.clamp(max=buckets - 1))


def alibi_slopes(n_heads: int) -> list[float]:
    """Return the slopes of the paper: 2^(−8i/n), interleaved when n is no power of two.

    >>> alibi_slopes(4)
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    slopes += [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * (n_heads - power), 2)]
    return slopes


class RotaryConfig(Config):
    """Rotary positions."""

    kind: Literal["rotary"] = "rotary"
    theta: float = Field(10000.0, gt=1)
    """The base of the frequencies; larger for longer contexts."""
    share: float = Field(1.0, gt=0, le=1)
    """How much of a head turns, its first part; the rest knows no positions (as in GPT-NeoX)."""
    scaling: RotaryScaling | None = None
    """How a longer context was reached than the first training had."""
    window_theta: float | None = Field(None, gt=1)
    """Another base for the layers that have a window, without scaling (as in Gemma 3)."""

    def turned(self, head_size: int) -> int:
        """Return how many numbers of a head turn."""
        return int(head_size * self.share)

    def check(self, head_size: int) -> None:
        """Raise ValueError where a scaling has numbers for another count of pairs than turn."""
        pairs = self.turned(head_size) // 2
        if isinstance(self.scaling, LongRopeScaling):
            for name in ("short_factor", "long_factor"):
                count = len(getattr(self.scaling, name))
                if count != pairs:
                    raise ValueError(f"position.scaling.{name} has {count} numbers, but {pairs} pairs turn")


class LearnedConfig(Config):
    """Learned positions."""

    kind: Literal["learned"] = "learned"
    offset: int = Field(0, ge=0)
    """Rows of the table before that of the first position (2 in RoBERTa and BART)."""


class SinusoidalConfig(Config):
    """Fixed waves."""

    kind: Literal["sinusoidal"] = "sinusoidal"
    halves: bool = False
    """All sines first, then all cosines, as in Marian; else they take turns, as in the paper."""


class AlibiConfig(Config):
    """Linear distance penalty."""

    kind: Literal["alibi"] = "alibi"


class RelativeConfig(Config):
    """Learned relative positions, as in T5."""

    kind: Literal["relative"] = "relative"
    buckets: int = Field(32, ge=4, multiple_of=4)
    """How many distances are told apart."""
    longest: int = Field(128, ge=8)
    """All distances from here on are alike."""


class NoPositionConfig(Config):
    """No positions: order is known from the causal mask alone."""

    kind: Literal["none"] = "none"


PositionConfig = Annotated[
    RotaryConfig | LearnedConfig | SinusoidalConfig | AlibiConfig | RelativeConfig | NoPositionConfig,
    Field(discriminator="kind"),
]


def build_positions(
    config: PositionConfig,
    *,
    context: int,
    width: int,
    n_heads: int,
    head_size: int,
    both_ways: bool = False,
) -> Positions:
    """Return the positions of a network with these sizes; `both_ways` where a token sees those after it."""
    match config:
        case RotaryConfig():
            return Rotary(context, config.turned(head_size), config)
        case LearnedConfig():
            return Learned(context, width, config.offset)
        case SinusoidalConfig():
            return Sinusoidal(width, halves=config.halves)
        case AlibiConfig():
            return Alibi(n_heads)
        case RelativeConfig():
            return Relative(n_heads, buckets=config.buckets, longest=config.longest, both_ways=both_ways)
        case NoPositionConfig():
            return Positions()
