"""How the learning rate moves: warm-up, then constant, linear, cosine, inverse square root or stable and decay."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from rootlm.core.config import Config


class _Schedule(Config):
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the rate rises from nothing, linearly."""

    def _warm(self, step: int) -> float:
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def _progress(self, step: int, steps: int) -> float:
        return min(1.0, max(0.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps)))


class ConstantConfig(_Schedule):
    """The same rate to the end."""

    kind: Literal["constant"] = "constant"

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the highest rate in `step` of `steps`."""
        return self._warm(step)


class LinearConfig(_Schedule):
    """A straight line down to `final`."""

    kind: Literal["linear"] = "linear"
    final: float = Field(0.0, ge=0, le=1)
    """Share of the highest rate at the end."""

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the highest rate in `step` of `steps`."""
        return min(self._warm(step), 1 - (1 - self.final) * self._progress(step, steps))


class CosineConfig(_Schedule):
    """Half a cosine down to `final` (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(0.1, ge=0, le=1)
    """Share of the highest rate at the end."""

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the highest rate in `step` of `steps`."""
        wave = (1 + math.cos(math.pi * self._progress(step, steps))) / 2
        return min(self._warm(step), self.final + (1 - self.final) * wave)


class InverseSquareRootConfig(_Schedule):
    """After the warm-up, √(warmup_steps / step): it never ends (Vaswani et al. 2017)."""

    kind: Literal["inverse_square_root"] = "inverse_square_root"

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the highest rate in `step`.

        >>> schedule = InverseSquareRootConfig(warmup_steps=100)
        >>> schedule.factor(49, 1000), schedule.factor(399, 1000)
        (0.5, 0.5)
        """
        return min(self._warm(step), math.sqrt(max(1, self.warmup_steps) / (step + 1)))


class WSDConfig(_Schedule):
    """Warm-up, stable, then a straight line down over the last `decay_share` (Hu et al. 2024)."""

    kind: Literal["wsd"] = "wsd"
    decay_share: float = Field(0.4, gt=0, le=1)
    """The part of all steps in which the rate falls."""
    final: float = Field(0.0, ge=0, le=1)
    """Share of the highest rate at the end."""

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the highest rate in `step` of `steps`.

        >>> WSDConfig(warmup_steps=10, decay_share=0.5).factor(75, 100)
        0.5
        """
        left = (steps - step) / (steps * self.decay_share)
        return min(self._warm(step), 1.0, self.final + (1 - self.final) * left)


class ExponentialConfig(_Schedule):
    """From `initial` to `final` by equal factors, up or down: a sweep of rates, or a decay."""

    kind: Literal["exponential"] = "exponential"
    initial: float = Field(1.0, gt=0)
    """Share of the rate in the first step."""
    final: float = Field(0.01, gt=0)
    """Share of the rate in the last step."""

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the rate in `step` of `steps`.

        >>> schedule = ExponentialConfig(initial=0.01, final=100)
        >>> [round(float(schedule.factor(step, 5)), 9) for step in range(5)]
        [0.01, 0.1, 1.0, 10.0, 100.0]
        """
        gone = min(1.0, max(0, step - self.warmup_steps) / max(1, steps - 1 - self.warmup_steps))
        return self._warm(step) * self.initial * math.exp(gone * math.log(self.final / self.initial))


ScheduleConfig = Annotated[
    ConstantConfig | LinearConfig | CosineConfig | InverseSquareRootConfig | WSDConfig | ExponentialConfig,
    Field(discriminator="kind"),
]
