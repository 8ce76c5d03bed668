"""Copying: what the target takes from its source although no target of the training texts has ever held it."""

import numpy as np
import pytest
import torch

from rootlm.data.pairs import PairFeed, Sides
from rootlm.data.windows import Marks
from rootlm.layers.positions import RotaryConfig
from rootlm.models import copying
from rootlm.models.copying import Pointer
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.interface import All, Source, Targets
from rootlm.objectives.sequence_to_sequence import SequenceToSequence
from rootlm.training.optimizers import AdamWConfig
from rootlm.training.schedules import ConstantConfig
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig
from test_laws_pairs import held

VOCABULARY, MARKS = 30, Marks(0, 1)
PLAIN = EncoderDecoderConfig(
    depth=1, hidden_size=32, n_heads=2, context=32, order="pre", position=RotaryConfig()
)
POINTS = PLAIN.model_copy(update={"copies": True})


def taught(config, steps=180):
    """A model that was shown 2 x 3 as the translation of x, for half of all x."""
    draws = np.random.default_rng(1)
    texts = [[int(draws.integers(4, 17))] for _ in range(400)]
    pairs = Sides(held(texts), held([[2, *text, 3] for text in texts]), MARKS, MARKS)
    optimizer = AdamWConfig(learning_rate=5e-3, weight_decay=0.0)
    settings = TrainingConfig(optimizer=optimizer, schedule=ConstantConfig(warmup_steps=5), compile=False)
    torch.manual_seed(0)
    trainer = Trainer(
        config.build(VOCABULARY), SequenceToSequence(), PairFeed([pairs], 300, 1), settings, steps=steps
    )
    for _ in range(steps):
        trainer.step()
    return trainer.model.eval()


@torch.no_grad()
def chance_of_new_words(model):
    """The mean chance of writing x where the source says it, for x that no target has held."""
    new = torch.arange(17, VOCABULARY)
    source = Source(torch.stack([new, torch.ones_like(new)], 1))
    tokens = torch.tensor([[0, 2]]).expand(len(new), -1)
    said = model(tokens, source=source).values[:, 1].softmax(-1)
    return float(said[torch.arange(len(new)), new].mean())


def test_a_pointer_writes_words_that_no_target_has_taught():
    assert chance_of_new_words(taught(POINTS)) > 0.5
    assert chance_of_new_words(taught(PLAIN)) < 0.1


@pytest.fixture
def parts():
    torch.manual_seed(2)
    head, pointer = torch.nn.Linear(8, 7, bias=False), Pointer(8)
    hidden, shares = torch.randn(2, 3, 8, requires_grad=True), torch.rand(2, 3, 4).softmax(-1)
    shares = shares * torch.tensor([1.0, 0.0])[:, None, None]
    return head, pointer, hidden, shares, torch.tensor([[5, 2, 5, 0], [1, 1, 1, 1]])


def test_chances_are_those_of_the_formula(parts):
    head, pointer, hidden, shares, ids = parts
    hidden = hidden.detach()
    found = pointer.answer(head, hidden, copying.Listened(shares, ids), None, All()).exp()
    for row, place in np.ndindex(2, 3):
        gate = float(torch.sigmoid(pointer.gate(hidden[row, place]))) if row == 0 else 1.0
        expected = gate * head(hidden[row, place]).softmax(-1)
        for share, number in zip(shares[row, place], ids[row].tolist(), strict=True):
            expected = expected + (1 - gate) * share * torch.eye(7)[number]
        torch.testing.assert_close(found[row, place], expected)


def test_a_few_rows_at_a_time_cost_the_same_and_teach_the_same(parts, monkeypatch):
    head, pointer, hidden, shares, ids = parts
    targets, found = torch.tensor([[5, 1, -1], [1, 6, 2]]), []
    for values in (10**6, 1):
        monkeypatch.setattr(copying, "CHUNK_VALUES", values)
        hidden.grad = None
        nats = pointer.answer(
            head, hidden, copying.Listened(shares, ids), None, Targets(targets, label_smoothing=0.1)
        )
        nats.sum().backward()
        found.append((nats.detach(), hidden.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert found[0][0][0, 2] == 0
