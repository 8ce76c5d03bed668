"""Optimizers against torch's own or their formula; Muon's polar against the singular value decomposition."""

import math

import pytest
import torch
from torch import nn

from members import VOCABULARY, build
from rootlm.layers.linear import Linear
from rootlm.training.muon import Muon, polar
from rootlm.training.optimizers import (
    AdamConfig,
    AdamWConfig,
    GradientDescentConfig,
    MomentumConfig,
    MuonConfig,
    SGDConfig,
    add_penalties,
    restore_state,
    state_tensors,
)
from rootlm.training.schedules import ConstantConfig, CosineConfig, LinearConfig, WSDConfig

MATRIX, VECTOR = torch.linspace(-1, 1, 12).view(3, 4), torch.linspace(-0.5, 2, 4)


class Small(nn.Module):
    """A matrix and a vector, pulled towards known places."""

    def __init__(self):
        super().__init__()
        self.matrix, self.vector = nn.Parameter(MATRIX.clone()), nn.Parameter(VECTOR.clone())

    def pull(self):
        self.zero_grad()
        (
            (self.matrix - 0.3).pow(2).sum()
            + (self.matrix @ self.vector).sin().sum()
            + self.vector.pow(4).sum()
        ).backward()


def steps(config, count=5):
    model = Small()
    optimizers = config.build(model)
    for _ in range(count):
        model.pull()
        for optimizer in optimizers:
            optimizer.step()
    return model


def by_formula(update, count=5):
    """Walk the same way with `update(step, theta, gradient, memory, is_matrix) → theta`."""
    model, memories = Small(), ({}, {})
    for number in range(1, count + 1):
        model.pull()
        with torch.no_grad():
            for parameter, memory in zip(model.parameters(), memories, strict=True):
                parameter.copy_(
                    update(number, parameter.clone(), parameter.grad, memory, parameter.ndim == 2)
                )
    return model


def same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [GradientDescentConfig, SGDConfig])
def test_gradient_descent_follows_its_formula(kind):
    expected = by_formula(lambda n, theta, g, m, matrix: theta - 0.02 * (g + 0.1 * theta * matrix))
    same(steps(kind(learning_rate=0.02, weight_decay=0.1)), expected)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_its_formula(nesterov):
    def update(n, theta, g, memory, matrix):
        memory["v"] = 0.8 * memory.get("v", 0) + g
        return theta - 0.02 * (g + 0.8 * memory["v"] if nesterov else memory["v"])

    same(steps(MomentumConfig(learning_rate=0.02, momentum=0.8, nesterov=nesterov)), by_formula(update))


def adam(decay, decoupled):
    def update(n, theta, g, memory, matrix):
        own = decay if matrix else 0.0
        if not decoupled:
            g = g + own * theta
        memory["m"] = 0.8 * memory.get("m", 0) + 0.2 * g
        memory["v"] = 0.95 * memory.get("v", 0) + 0.05 * g.square()
        mean, square = memory["m"] / (1 - 0.8**n), memory["v"] / (1 - 0.95**n)
        theta = theta * (1 - 0.05 * own) if decoupled else theta
        return theta - 0.05 * mean / (square.sqrt() + 1e-6)

    return by_formula(update)


def test_adam_follows_its_formula():
    config = AdamConfig(learning_rate=0.05, weight_decay=0.2, beta1=0.8, beta2=0.95, eps=1e-6)
    same(steps(config), adam(0.2, decoupled=False))


def test_adamw_follows_its_formula():
    config = AdamWConfig(learning_rate=0.05, weight_decay=0.2, beta1=0.8, beta2=0.95, eps=1e-6)
    same(steps(config), adam(0.2, decoupled=True))


SHAPES = [(64, 64), (16, 96), (96, 16), (1, 8), (200, 190)]


def random(shape, seed=0, count=3):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_polar_has_singular_values_near_one_and_the_direction_of_the_decomposition(shape, products):
    matrices = random(shape)
    found = polar(matrices, products=products).float()
    left, before, right = torch.linalg.svd(matrices, full_matrices=False)
    after = torch.linalg.svdvals(found)
    assert after.max() < 1.4
    # A thousandth of the norm is what five steps can lift; a square random matrix has smaller ones.
    lifted = (before > 1.5e-3 * matrices.norm(dim=(1, 2))[:, None]).sum(1)
    assert all(values[:count].min() > 0.6 for values, count in zip(after, lifted, strict=True))
    assert lifted.min() >= before.shape[1] - 2
    cosine = torch.cosine_similarity(found.flatten(1), (left @ right).flatten(1))
    assert cosine.min() > 0.98


@pytest.mark.parametrize("scale", [1e-4, 1e12])
def test_polar_does_not_know_the_scale(scale):
    torch.testing.assert_close(polar(random((24, 16)) * scale), polar(random((24, 16))), rtol=1e-3, atol=1e-3)


def test_polar_of_nothing_is_nothing():
    assert not polar(torch.zeros(2, 8, 4)).any()


def muon(matrices, **settings):
    chosen = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "iterations": 5, **settings}
    return Muon(matrices, **chosen)


def test_muon_follows_its_formula():
    gradients = [random((24, 8), seed)[0] for seed in range(3)]
    parameter = nn.Parameter(random((24, 8), 9)[0])
    theta, mean = parameter.detach().clone(), torch.zeros(24, 8)
    optimizer = muon([(parameter, (24,))], weight_decay=0.5)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        direction = 0.1 * gradient + 0.9 * mean
        theta = theta * (1 - 0.1 * 0.5) - 0.1 * math.sqrt(24 / 8) * polar(direction[None])[0]
        torch.testing.assert_close(parameter.detach(), theta, rtol=1e-5, atol=1e-5)


def test_muon_steps_each_part_of_a_stacked_matrix_by_itself():
    parts, gradient = (12, 4, 4), random((20, 8))[0]
    together = nn.Parameter(torch.zeros(20, 8))
    together.grad = gradient.clone()
    muon([(together, parts)]).step()
    apart = [nn.Parameter(torch.zeros(size, 8)) for size in parts]
    for parameter, piece in zip(apart, gradient.split(parts), strict=True):
        parameter.grad = piece.clone()
    muon([(parameter, (len(parameter),)) for parameter in apart]).step()
    torch.testing.assert_close(
        together.detach(), torch.cat([p.detach() for p in apart]), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ["gpt2", "grouped", "mixture"])
def test_muon_takes_the_matrices_of_blocks_and_adamw_the_rest(name):
    model = build(name)
    first, rest = MuonConfig().build(model)
    taken = [
        {id(p) for group in optimizer.param_groups for p in group["params"]} for optimizer in (first, rest)
    ]
    expected = {
        id(part.weight) for block in model.blocks for part in block.modules() if isinstance(part, Linear)
    }
    assert taken[0] == expected
    assert not taken[0] & taken[1]
    assert taken[0] | taken[1] == {id(parameter) for parameter in model.parameters()}


def test_muon_refuses_a_model_without_blocks():
    with pytest.raises(ValueError, match="kind=adamw"):
        MuonConfig().build(Small())


@pytest.mark.parametrize(
    "config", [MomentumConfig(), AdamConfig(), AdamWConfig(), MuonConfig()], ids=lambda c: c.kind
)
def test_what_an_optimizer_remembers_comes_back(config):
    def walk(model, optimizers, first, count):
        for number in range(first, first + count):
            torch.manual_seed(number)
            model.zero_grad()
            model(torch.randint(0, VOCABULARY, (2, 9))).values.square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()

    def named(model):
        return {id(parameter): name for name, parameter in model.named_parameters()}

    model = build("grouped")
    optimizers = config.build(model)
    walk(model, optimizers, 0, 3)
    held = {name: tensor.clone() for name, tensor in state_tensors(optimizers, named(model)).items()}
    other = build("grouped")
    other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    again = config.build(other)
    restore_state(again, named(other), held)
    walk(model, optimizers, 3, 3)
    walk(other, again, 3, 3)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_penalties_add_their_gradients_to_matrices_only():
    model = Small()
    model.pull()
    plain = [parameter.grad.clone() for parameter in model.parameters()]
    add_penalties(model.named_parameters(), l1=0.3, l2=0.7)
    penalty = 0.3 * model.matrix.abs().sum() + 0.5 * 0.7 * model.matrix.square().sum()
    (expected,) = torch.autograd.grad(penalty, model.matrix)
    torch.testing.assert_close(model.matrix.grad, plain[0] + expected)
    assert torch.equal(model.vector.grad, plain[1])


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        (ConstantConfig(), {0: 1.0, 50: 1.0, 99: 1.0}),
        (ConstantConfig(warmup_steps=10), {0: 0.1, 4: 0.5, 9: 1.0, 99: 1.0}),
        (LinearConfig(final=0.2), {0: 1.0, 50: 0.6, 100: 0.2}),
        (LinearConfig(warmup_steps=20), {0: 0.05, 20: 1.0, 60: 0.5, 100: 0.0}),
        (CosineConfig(final=0.1), {0: 1.0, 50: 0.55, 100: 0.1}),
        (
            CosineConfig(warmup_steps=20, final=0.0),
            {9: 0.5, 20: 1.0, 40: (1 + math.cos(math.pi / 4)) / 2, 100: 0.0},
        ),
        (WSDConfig(warmup_steps=10, decay_share=0.4), {0: 0.1, 10: 1.0, 60: 1.0, 80: 0.5, 90: 0.25}),
        (WSDConfig(decay_share=0.5, final=0.1), {50: 1.0, 75: 0.55, 100: 0.1}),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_schedules_pass_through_known_points(schedule, points):
    for step, factor in points.items():
        assert schedule.factor(step, 100) == pytest.approx(factor, abs=1e-9), step


@pytest.mark.parametrize("schedule", [ConstantConfig, LinearConfig, CosineConfig, WSDConfig])
def test_a_schedule_rises_once_then_never_and_is_never_negative(schedule):
    for total, warmup in ((1, 0), (7, 3), (100, 10), (5, 50)):
        factors = [schedule(warmup_steps=warmup).factor(step, total) for step in range(total)]
        peak = factors.index(max(factors))
        assert factors[: peak + 1] == sorted(factors[: peak + 1])
        assert factors[peak:] == sorted(factors[peak:], reverse=True)
        assert all(0 <= factor <= 1 for factor in factors)
        assert factors[0] > 0
