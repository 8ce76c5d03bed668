"""The laws of objectives, for every objective and every kind of model it is asked of."""

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from members import TRAINED, VOCABULARY, build
from rootlm.data.windows import PADDING, Loader, Marks, WindowSource
from rootlm.models.catalog import save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.objectives.causal import CausalConfig
from rootlm.objectives.distillation import DistillationConfig
from rootlm.objectives.objective import Batch
from rootlm.training.optimizers import AdamWConfig
from rootlm.training.schedules import ConstantConfig
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig

TEACHER = tempfile.mkdtemp(prefix="rootlm-teacher-")
save_model(build("llama"), Path(TEACHER))
atexit.register(shutil.rmtree, TEACHER, ignore_errors=True)
OBJECTIVES = {
    "causal": CausalConfig(),
    "smoothed": CausalConfig(label_smoothing=0.1),
    "z loss": CausalConfig(z_loss=1e-2),
    "distillation": DistillationConfig(teacher=TEACHER),
}
BATCH_WIDE = {"balance"}
"""Terms that look at a whole batch at once; what they ask changes with the pieces, so they are exempt."""
MODELS = ["gpt2", "grouped", "mixture"]


class Held:
    def __init__(self, documents):
        self.ids = np.array([token for document in documents for token in document], np.uint16)
        self.offsets = np.cumsum([0, *map(len, documents)], dtype=np.int64)


def ragged(count=40, vocabulary=VOCABULARY):
    generator = np.random.default_rng(3)
    return Held([generator.integers(1, vocabulary, size) for size in generator.integers(1, 60, count)])


def loader(rows, store=None, context=32):
    return Loader([WindowSource(store or ragged(), Marks(0, 0), context, 1)], [1.0], rows, 1)


def batch_of(objective, rows=7, store=None):
    """A batch with padding in it: the last, short window of an epoch is among the rows."""
    source = loader(rows, store)
    short = [
        number
        for number in range(source.sources[0].per_epoch)
        if PADDING in source.sources[0].window(number)[1]
    ]
    assert short
    return objective.prepare(source.step(short[0] // rows), torch.Generator().manual_seed(0))


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param].build()


@pytest.fixture(params=MODELS)
def model(request):
    return build(request.param).train()


def gradients(model):
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def step_of(model, objective, rows, **settings):
    """Return the gradients that a trainer with these settings steps by, and the terms."""
    config = TrainingConfig(max_steps=1, batch_size=rows, max_grad_norm=None, compile=False, **settings)
    trainer = Trainer(model, objective, loader(rows), config, steps=1)
    held = []
    trainer.optimizers[0].step = lambda: held.extend(gradients(model))
    return trainer.step(), held


@pytest.mark.parametrize("pieces", [2, 3, 5, 7])
def test_accumulating_equals_one_big_batch(objective, model, pieces):
    expected_facts, expected = step_of(model, objective, 7)
    if expected_facts.keys() & BATCH_WIDE:
        objective = objective.config.model_copy(update={"balance": 0.0}).build()
        expected_facts, expected = step_of(model, objective, 7)
    facts, found = step_of(model, objective, 7, gradient_accumulation_steps=pieces)
    assert facts["loss"] == pytest.approx(expected_facts["loss"], rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_weightless_positions_have_no_gradient(objective, model):
    batch = batch_of(objective)
    weights = torch.where(torch.arange(32) < 20, batch.weights, 0.0)
    changed = torch.where(torch.arange(32) < 20, batch.targets, (batch.targets + 1) % VOCABULARY)
    changed = torch.where(batch.targets < 0, batch.targets, changed)

    def read(targets):
        model.zero_grad()
        terms = objective.loss(model, Batch(batch.tokens, targets, weights, batch.segments))
        terms["loss"].total.sum().backward()
        return terms["loss"], gradients(model)

    (one, first), (other, second) = read(batch.targets), read(changed)
    assert torch.equal(one.total, other.total)
    assert torch.equal(one.count, weights.sum(1))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class Masked(Loader):
    """Gives rows in which nothing is asked."""

    def step(self, number, rank=0, workers=1):
        windows = super().step(number, rank, workers)
        return windows._replace(targets=np.full_like(windows.targets, PADDING))


def test_a_batch_whose_targets_are_all_masked_is_refused(objective, model):
    feed = Masked(loader(2).sources, [1.0], 2)
    trainer = Trainer(model, objective, feed, TrainingConfig(max_steps=1, compile=False), steps=1)
    with pytest.raises(ValueError, match="every target of this batch is masked"):
        trainer.step()


def test_padding_changes_nothing(objective):
    model = build("grouped").train()
    batch = batch_of(objective)

    def read(tokens, targets, weights, segments):
        model.zero_grad()
        total = objective.loss(model, Batch(tokens, targets, weights, segments))["loss"].total
        total.sum().backward()
        return total, gradients(model)

    def padded(tensor, value):
        return torch.nn.functional.pad(tensor, (0, 9), value=value)

    expected, first = read(batch.tokens, batch.targets, batch.weights, batch.segments)
    longer = padded(batch.tokens, 5), padded(batch.targets, PADDING), padded(batch.weights, 0.0)
    found, second = read(*longer, padded(batch.segments, int(batch.segments.max()) + 1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_counts_told_before_are_the_counts_of_the_terms(objective, model):
    batch = batch_of(objective)
    promised = objective.counts(batch)
    terms = objective.loss(model, batch)
    assert terms.keys() <= promised.keys()
    for name, term in terms.items():
        assert term.total.shape == term.count.shape == (len(batch.tokens),)
        torch.testing.assert_close(term.count.sum(), promised[name])


def test_the_balance_is_a_term_of_mixtures_only():
    objective = CausalConfig().build()
    for name in MODELS:
        terms = objective.loss(build(name), batch_of(objective))
        assert ("balance" in terms) == (name == "mixture")


def cycle(documents=60):
    """A language in which every token tells the next: a walk around a ring of ten, from the first on."""
    return Held([[1 + place % 10 for place in range(20)]] * documents)


def test_it_learns_a_toy_language():
    torch.manual_seed(0)
    model = DecoderConfig(preset="qwen3", depth=1, hidden_size=32, n_heads=2, context=21).build(12)
    config = TrainingConfig(
        max_steps=80,
        batch_size=8,
        optimizer=AdamWConfig(learning_rate=1e-2, weight_decay=0.0),
        schedule=ConstantConfig(),
        compile=False,
    )
    trainer = Trainer(model, CausalConfig().build(), loader(8, cycle(), context=21), config, steps=80)
    losses = [trainer.step()["loss"] for _ in range(80)]
    assert losses[0] == pytest.approx(np.log(12), rel=0.1)
    assert losses[-1] < 0.02


def test_every_member_learns(objective):
    """One big step along the gradient of a batch lowers that batch's loss."""
    for name in TRAINED:
        model = build(name)
        batch = batch_of(objective)

        def loss(model=model, batch=batch):
            return objective.loss(model, batch)["loss"].total.sum() / batch.weights.sum()

        before = loss()
        before.backward()
        slope = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=float(0.01 / slope))
        assert float((before - loss()).detach()) == pytest.approx(0.01, rel=0.2), name
