"""Distillation equals its formula, pulls towards a known teacher, and refuses one that speaks another way."""

import pytest
import torch

from conftest import TINY
from members import VOCABULARY, build
from rootlm.core.config import Override
from rootlm.models.catalog import save_model
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.interface import All
from rootlm.objectives.causal import CausalConfig
from rootlm.objectives.distillation import Distillation, DistillationConfig
from rootlm.objectives.objective import Carry
from rootlm.runs.fitting import train
from rootlm.runs.recipe import read_recipe
from test_laws_objectives import batch_of
from toys import bigram


def distillation(teacher, **settings):
    return Distillation(DistillationConfig(teacher="-", **settings), teacher)


def pieces(model, objective):
    torch.manual_seed(0)
    return objective.loss(model, batch_of(objective))


@pytest.mark.parametrize("heat", [1.0, 3.0])
def test_it_is_the_formula(heat):
    teacher, model = build("llama"), build("gpt2")
    objective = distillation(teacher, temperature=heat, share=0.3)
    batch = batch_of(objective)
    terms = objective.loss(model, batch)
    with torch.no_grad():
        said, wanted = (
            one(batch.tokens, segments=batch.segments, ask=All()).values for one in (model, teacher)
        )
    expected = []
    for row in range(len(batch)):
        total = 0.0
        for place in (batch.targets[row] >= 0).nonzero()[:, 0].tolist():
            p, q = ((one[row, place] / heat).softmax(-1) for one in (wanted, said))
            total += float(heat**2 * (p * (p / q).log()).sum())
        expected.append(0.3 * total)
    assert terms["teacher"].total.tolist() == pytest.approx(expected, rel=1e-4)
    causal = CausalConfig().build().loss(model, batch)["loss"].total * 0.7
    torch.testing.assert_close(terms["loss"].total, causal, rtol=1e-5, atol=1e-5)


def test_the_teacher_itself_has_nothing_to_learn_from_the_teacher():
    teacher = build("llama")
    terms = pieces(build("llama"), distillation(teacher))
    assert terms["teacher"].total.abs().max() < 1e-4


def test_without_the_teachers_share_it_is_the_causal_loss():
    model = build("gpt2")
    objective = distillation(build("llama"), share=0.0)
    expected = CausalConfig().build().loss(model, batch_of(objective))["loss"].total
    terms = pieces(model, objective)
    torch.testing.assert_close(terms["loss"].total, expected, rtol=1e-5, atol=1e-5)
    assert terms["teacher"].total.abs().max() == 0


@pytest.mark.parametrize("heat", [1.0, 4.0])
def test_a_table_learns_the_teachers_table(heat):
    """Of a table of logits by the last token the answer is known: the teacher's own probabilities."""
    teacher, model = bigram(VOCABULARY, seed=1), bigram(VOCABULARY, seed=2)
    objective = distillation(teacher, temperature=heat, share=1.0)
    batch = batch_of(objective, rows=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(600):
        optimizer.zero_grad()
        objective.loss(model, batch)["teacher"].total.sum().backward()
        optimizer.step()
    read = batch.tokens[batch.targets >= 0].unique()
    found, wanted = (one.table[read].softmax(-1) for one in (model, teacher))
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)


def test_the_teacher_gets_no_gradient():
    teacher, model = build("llama").requires_grad_(False), build("gpt2")
    sum(term.total.sum() for term in pieces(model, distillation(teacher)).values()).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_a_teacher_that_does_not_fit_is_named(tmp_path):
    model, objective = build("gpt2"), distillation(bigram(7))
    with pytest.raises(ValueError, match="knows 7 tokens, the model 50"):
        pieces(model, objective)
    with pytest.raises(ValueError, match=r"reads 9 tokens and a window has 32; set training\.window=9"):
        pieces(model, distillation(bigram(VOCABULARY, context=9)))
    batch = batch_of(objective)
    object.__setattr__(batch, "carry", Carry())
    with pytest.raises(ValueError, match="reads every window afresh"):
        objective.loss(model, batch)
    save_model(EncoderConfig(depth=1, hidden_size=32, n_heads=2, context=32).build(VOCABULARY), tmp_path)
    with pytest.raises(ValueError, match="holds a model of kind encoder, which predicts no next token"):
        DistillationConfig(teacher=str(tmp_path)).build()


def test_a_run_learns_from_a_run_of_the_same_tokenizer(tmp_path, corpus):
    file = tmp_path / "tiny.yaml"
    file.write_text(f"corpus: {corpus}\n{TINY}")

    def run(name, **settings):
        own = [Override(key.replace("__", "."), value) for key, value in settings.items()]
        recipe = read_recipe(str(file), [Override("out", str(tmp_path / name)), *own])
        return train(recipe, lambda text: None)

    teacher = run("teacher", training__max_steps=6)
    asked = {"objective__kind": "distillation", "objective__teacher": str(teacher)}
    student = run("student", tokenizer=str(teacher), training__max_steps=6, **asked)
    assert '"teacher"' in (student / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"has the tokenizer \w+…, this run \w+…; set tokenizer="):
        run("other", tokenizer__vocab_size=300, **asked)
