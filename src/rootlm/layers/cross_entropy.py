"""−ln p of given ids without ever holding all logits: the head is applied to a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rootlm.layers.linear import Head

CHUNK_VALUES = 4_194_304
"""Logits held at once, 16 MB in float32."""


@dataclass(frozen=True)
class Costs:
    """What is added to −ln p in training.

    `label_smoothing` ε mixes in the mean of −ln p over the vocabulary (Szegedy et al. 2016); `z_loss` adds
    z · (ln Σ exp)² (Chowdhery et al. 2022).
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0


def negative_log_likelihood(
    head: nn.Module, hidden: Tensor, ids: Tensor, costs: Costs = Costs(), weights: Tensor | None = None
) -> Tensor:
    """Return nats (n,) of `ids` (n,) under softmax(head(hidden)), hidden being (n, width); 0 where ids < 0.

    `weights` (n,) says how the caller will weigh each value in its loss, up to a common factor; right or wrong
    the gradient is exact, but only when right is it made in the forward pass, while the logits are at hand.
    """
    if torch.is_grad_enabled() and getattr(head, "adapter", None) is not None:
        # Two small matrices stand for one: their gradients are made by torch, a few rows at a time all the same.
        parts = [
            checkpoint(_row_costs, head, hidden[r], ids[r], costs, use_reentrant=False)
            for r in _rows(head, len(hidden))
        ]
        return torch.cat(parts)
    if torch.is_grad_enabled() and (hidden.requires_grad or any(p.requires_grad for p in head.parameters())):
        weights = torch.ones_like(ids, dtype=torch.float32) if weights is None else weights.float()
        parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
        nats: Tensor = _ChunkedNats.apply(  # type: ignore[no-untyped-call]
            head, hidden, ids, costs, weights, *parameters
        )
        return nats
    return torch.cat([_row_costs(head, hidden[r], ids[r], costs) for r in _rows(head, len(hidden))])


def ranks(head: nn.Module, hidden: Tensor, ids: Tensor) -> Tensor:
    """Return (n, 2): nats of `ids` and how many ids are likelier; zeros where ids < 0."""
    found = []
    for rows in _rows(head, len(hidden)):
        logits = head(hidden[rows]).float()
        nats, _, _ = _costs(logits, ids[rows], Costs())
        own = logits.gather(1, ids[rows].clamp(min=0)[:, None])
        likelier = (logits > own).sum(1) * (ids[rows] >= 0)
        found.append(torch.stack([nats, likelier.to(nats.dtype)], -1))
    return torch.cat(found)


def _rows(head: nn.Module, count: int) -> Iterator[slice]:
    size = max(1, CHUNK_VALUES // int(getattr(head, "out_features", 32768)))
    return (slice(start, start + size) for start in range(0, max(count, 1), size))


def _row_costs(head: nn.Module, hidden: Tensor, ids: Tensor, costs: Costs) -> Tensor:
    return _costs(head(hidden).float(), ids, costs)[0]


def _costs(logits: Tensor, ids: Tensor, costs: Costs) -> tuple[Tensor, Tensor, Tensor]:
    """Return what each row costs, its ln Σ exp, both (rows,), and ln p of everything, from float32 logits."""
    own = ids.clamp(min=0)[:, None]
    logprobs = torch.log_softmax(logits, -1)
    nats = -logprobs.gather(1, own)[:, 0]
    total = logits.gather(1, own)[:, 0] + nats
    if costs.label_smoothing:
        nats = torch.lerp(nats, -logprobs.mean(-1), costs.label_smoothing)
    if costs.z_loss:
        nats = nats + costs.z_loss * total.square()
    return nats * (ids >= 0), total, logprobs


def _logit_gradient(logprobs: Tensor, ids: Tensor, total: Tensor, costs: Costs, weights: Tensor) -> Tensor:
    """Return weights · d cost / d logits, in the memory of `logprobs`."""
    factor = weights * (ids >= 0)
    slope = factor * (1 + 2 * costs.z_loss * total) if costs.z_loss else factor
    gradient = logprobs.exp_().mul_(slope[:, None])
    if costs.label_smoothing:
        gradient.sub_((factor * costs.label_smoothing / logprobs.shape[-1])[:, None])
    hit = -factor * (1 - costs.label_smoothing)
    return gradient.scatter_add_(1, ids.clamp(min=0)[:, None], hit[:, None])


class _ChunkedNats(torch.autograd.Function):
    """Makes the gradients in the forward pass, chunk by chunk, for the weights that the caller announced."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        head: nn.Module,
        hidden: Tensor,
        ids: Tensor,
        costs: Costs,
        weights: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            nats, gradients = _forward_with_gradients(head, hidden, ids, (costs, weights), parameters)
        ctx.save_for_backward(hidden, ids, weights, *gradients)
        ctx.head, ctx.costs, ctx.parameters = head, costs, parameters
        return nats

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, ids, weights, *gradients = ctx.saved_tensors
        given = upstream[0].float() * (ids >= 0)
        announced = weights * (ids >= 0)
        scale = (given * announced).sum() / announced.square().sum().clamp(min=1e-30)
        if not torch.allclose(given, scale * announced, rtol=1e-5, atol=0):
            _, gradients = _forward_with_gradients(ctx.head, hidden, ids, (ctx.costs, given), ctx.parameters)
            scale = torch.ones_like(scale)
        made = [gradient * scale.to(gradient.dtype) for gradient in gradients]
        return (None, made[0], None, None, None, *made[1:])


def _forward_with_gradients(
    head: nn.Module, hidden: Tensor, ids: Tensor, asked: tuple[Costs, Tensor], parameters: tuple[Tensor, ...]
) -> tuple[Tensor, list[Tensor]]:
    """Return what each row costs, and the gradients of hidden, of the head's weight and of its bias if it has one."""
    known = {id(part) for part in (head.weight, head.bias) if part is not None}
    if not isinstance(head, nn.Linear) or any(id(parameter) not in known for parameter in parameters):
        raise ValueError(f"the head must be a plain linear map to be trained, and is a {type(head).__name__}")
    costs, weights = asked
    # One copy in the stream's type for all chunks; the sums over chunks are made in float32.
    weight = head.weight.detach().to(hidden.dtype)
    bias = None if head.bias is None else head.bias.detach().to(hidden.dtype)
    hidden_gradient = torch.empty_like(hidden)
    sums = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
    softcap = head.softcap if isinstance(head, Head) else None
    nats = []
    for rows in _rows(head, len(hidden)):
        logits = F.linear(hidden[rows], weight, bias)
        if softcap is not None:
            logits = logits.div_(softcap).tanh_().mul_(softcap)
        values, total, logprobs = _costs(logits.float(), ids[rows], costs)
        nats.append(values)
        slope = _logit_gradient(logprobs, ids[rows], total, costs, weights[rows]).to(logits.dtype)
        if softcap is not None:
            slope = slope * (1 - (logits / softcap).square())
        hidden_gradient[rows] = slope @ weight
        for held, parameter in zip(sums, parameters, strict=True):
            held.add_(slope.t() @ hidden[rows] if parameter is head.weight else slope.sum(0))
    made = [held.to(parameter.dtype) for held, parameter in zip(sums, parameters, strict=True)]
    return torch.cat(nats), [hidden_gradient, *made]
