"""The feed-forward part of a block: gated or plain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.core.config import Config
from rootlm.layers.frugal import gated
from rootlm.layers.linear import Linear


class SwiGLU(nn.Module):
    """W₂(silu(W₁x) ⊙ W₃x) (Shazeer 2020); one matrix makes both inner streams, the gate first."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.up = Linear(width, 2 * inner, bias=bias, parts=(inner, inner))
        self.down = Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(gated(self.up(x)))
        return out


class GeGLU(nn.Module):
    """W₂(gelu(W₁x) ⊙ W₃x) (Shazeer 2020); one matrix makes both inner streams, the gate first."""

    def __init__(self, width: int, inner: int, bias: bool, approximate: str) -> None:
        super().__init__()
        self.up = Linear(width, 2 * inner, bias=bias, parts=(inner, inner))
        self.down = Linear(inner, width, bias=bias)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, -1)
        out: Tensor = self.down(F.gelu(gate, approximate=self.approximate) * value)
        return out


class GeLU(nn.Module):
    """W₂ gelu(W₁x) (Hendrycks & Gimpel 2016), with the tanh form that GPT-2 uses or the exact one."""

    def __init__(self, width: int, inner: int, bias: bool, approximate: str) -> None:
        super().__init__()
        self.up = Linear(width, inner, bias=bias)
        self.down = Linear(inner, width, bias=bias)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x), approximate=self.approximate))
        return out


class SiLU(nn.Module):
    """W₂ silu(W₁x), silu(x) being x · sigmoid(x) (Elfwing et al. 2018; Ramachandran et al. 2017 call it swish)."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.up = Linear(width, inner, bias=bias)
        self.down = Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.up(x)))
        return out


class ReLU(nn.Module):
    """W₂ relu(W₁x), as in the Transformer of 2017 (Vaswani et al.)."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.up = Linear(width, inner, bias=bias)
        self.down = Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.relu(self.up(x)))
        return out


class ReLU2(nn.Module):
    """W₂ relu(W₁x)² (So et al. 2021)."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.up = Linear(width, inner, bias=bias)
        self.down = Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.relu(self.up(x)).square())
        return out


class SwiGLUConfig(Config):
    """Gated by a sigmoid-weighted unit."""

    kind: Literal["swiglu"] = "swiglu"
    size: int | None = Field(None, ge=1)
    """Inner width; none takes 8/3 of the width, rounded up to a multiple of 64."""
    bias: bool = False
    """Add biases."""

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        return SwiGLU(width, self.size or -(-width * 8 // 3 // 64) * 64, self.bias)


class GeGLUConfig(Config):
    """Gated by a Gaussian error linear unit."""

    kind: Literal["geglu"] = "geglu"
    size: int | None = Field(None, ge=1)
    """Inner width; none takes 8/3 of the width, rounded up to a multiple of 64."""
    bias: bool = False
    """Add biases."""
    approximate: Literal["tanh", "none"] = "none"
    """The tanh form or the exact one."""

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        return GeGLU(width, self.size or -(-width * 8 // 3 // 64) * 64, self.bias, self.approximate)


class GeLUConfig(Config):
    """Gaussian error linear unit."""

    kind: Literal["gelu"] = "gelu"
    size: int | None = Field(None, ge=1)
    """Inner width; none takes four times the width."""
    bias: bool = True
    """Add biases."""
    approximate: Literal["tanh", "none"] = "tanh"
    """The tanh form or the exact one."""

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        return GeLU(width, self.size or 4 * width, self.bias, self.approximate)


class SiLUConfig(Config):
    """Sigmoid-weighted linear unit, or swish."""

    kind: Literal["silu"] = "silu"
    size: int | None = Field(None, ge=1)
    """Inner width; none takes four times the width."""
    bias: bool = True
    """Add biases."""

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        return SiLU(width, self.size or 4 * width, self.bias)


class ReLUConfig(Config):
    """Rectifier."""

    kind: Literal["relu"] = "relu"
    size: int | None = Field(None, ge=1)
    """Inner width; none takes four times the width."""
    bias: bool = True
    """Add biases."""

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        return ReLU(width, self.size or 4 * width, self.bias)


class ReLU2Config(Config):
    """Squared rectifier."""

    kind: Literal["relu2"] = "relu2"
    size: int | None = Field(None, ge=1)
    """Inner width; none takes four times the width."""
    bias: bool = False
    """Add biases."""

    def build(self, width: int) -> nn.Module:
        """Return the part for a stream `width` wide."""
        return ReLU2(width, self.size or 4 * width, self.bias)
