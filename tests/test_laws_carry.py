"""The laws of rows that read on: what is carried is what would have been read at once, and a kill loses none of it."""

import signal

import pytest
import torch

from members import build
from rootlm.data.windows import Marks, Streams, WindowSource
from rootlm.models.interface import Targets
from rootlm.objectives.causal import CausalConfig
from rootlm.training.checkpoints import Checkpoint
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig
from test_laws_data import STORES
from test_laws_trainer import BRAKE, recorded, same_runs

MODELS = {
    "lstm": "{kind: recurrent, hidden_size: 16, layer_norm: true, hidden_dropout: 0.2, weight_dropout: 0.2}",
    "gru": "{kind: recurrent, cell: gru, hidden_size: 16, embedding_dropout: 0.2}",
    "convolutional": "{kind: convolutional, depth: 2, hidden_size: 16, kernel: 3, dropout: 0.1}",
    "feedforward": "{kind: feedforward, order: 3, embedding_size: 8, hidden_size: 16}",
}
CARRIED = """
tokenizer: {kind: bpe, vocab_size: 320}
training:
  max_steps: 16
  batch_size: 3
  window: 8
  carry: true
  eval_steps: 6
  save_steps: 3
  logging_steps: 1
  compile: false
  optimizer: {kind: adamw}
validation: {tokens: 200}
"""


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "float32") for name in MODELS), ("lstm", "bfloat16")]
)
def test_killed_and_resumed_with_what_it_carries_equals_never_stopped(
    commands, corpus, tmp_path, name, precision
):
    file = tmp_path / "carried.yaml"
    file.write_text(f"corpus: {corpus}\nmodel: {MODELS[name]}\n{CARRIED}", encoding="utf-8")
    words = ("train", str(file), f"training.precision={precision}")
    whole, out = tmp_path / "whole", tmp_path / "run"
    ended = commands.run(*words, f"out={whole}")
    assert ended.code == 0, ended.err
    for step in (2, 8):
        killed = commands.start(*words, f"out={out}", brake=BRAKE).kill_when(
            lambda step=step: recorded(out) >= step
        )
        assert killed.code == -signal.SIGKILL
    ended = commands.run(*words, f"out={out}")
    assert "goes on from step" in ended.out
    same_runs(whole, out)


def carrying(model, **settings):
    config = TrainingConfig(batch_size=4, carry=True, compile=False, **settings)
    feed = Streams(WindowSource(STORES["one long"], Marks(0, 0), 16, 5, in_order=True), 4)
    return Trainer(model, CausalConfig().build(), feed, config, steps=100), feed


def losses_of(trainer, steps, monkeypatch):
    """The loss of each step with weights that stay as they are."""
    for optimizer in trainer.optimizers:
        monkeypatch.setattr(optimizer, "step", lambda: None)
    return [trainer.step()["loss"] for _ in range(steps)]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "convolutional", "feedforward"])
def test_steps_that_carry_cost_what_reading_at_once_costs(name, pieces, monkeypatch):
    model = build(name, 310)
    trainer, feed = carrying(model, gradient_accumulation_steps=pieces)
    count = feed.steps + 2
    found = losses_of(trainer, count, monkeypatch)
    batches = [CausalConfig().build().prepare(feed.step(step), torch.Generator()) for step in range(count)]
    tokens, targets, segments = (
        torch.cat([getattr(batch, part) for batch in batches], 1)
        for part in ("tokens", "targets", "segments")
    )
    with torch.no_grad():
        nats = model.eval()(tokens, segments=segments, ask=Targets(targets)).values
    for step in range(count):
        part = slice(step * 16, step * 16 + 16)
        asked = (targets[:, part] >= 0).sum()
        torch.testing.assert_close(
            torch.tensor(found[step]), nats[:, part].sum() / asked, rtol=1e-4, atol=1e-4
        )


def test_a_model_with_a_limit_and_other_workers_are_refused():
    with pytest.raises(
        ValueError, match=r"training\.carry needs a model that reads on without a limit, and a decoder"
    ):
        carrying(build("gpt2"))
    trainer, _ = carrying(build("gru", 310))
    trainer.step()
    saved = {f"carried.{rank}.0.lengths": torch.zeros(4) for rank in range(2)}
    with pytest.raises(ValueError, match=r"was begun by 2 workers, .* go on with as many, not 1"):
        weights = {n: p.data for n, p in trainer.model.named_parameters()}
        trainer.restore(Checkpoint(weights, saved, {"step": 1}))
