"""Word vectors begin the embedding of every model, frozen or not."""

import json

import numpy as np
import pytest
import torch

import rootlm
from encoders import ENCODERS, build_encoder
from members import CONFIGS, VOCABULARY, build
from rootlm.cli.main import run as command
from rootlm.core.config import parse_override
from rootlm.models.catalog import load_model
from rootlm.models.vector_files import open_vectors, write_vectors
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.fitting import train
from rootlm.runs.recipe import read_recipe
from rootlm.runs.vectors_start import EmbeddingStart, Start
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.training.fitters import fitter

LEARNED = [name for name, config in CONFIGS.items() if fitter(config) is None]


def member(name):
    return build(name) if name in CONFIGS else build_encoder(name)


@pytest.mark.parametrize("name", [*LEARNED, *ENCODERS])
def test_every_model_begins_with_the_rows_it_is_given(name):
    model = member(name)
    width = model.input_table.embedding_dim
    rows = np.random.default_rng(0).normal(size=(3, width)).astype(np.float32)
    before = model.input_table.weight.detach().clone()
    Start(EmbeddingStart(path="a"), (7, 0, 4), rows, VOCABULARY).fill(model)
    after = model.input_table.weight.detach()
    assert (after[[7, 0, 4]].numpy() == rows).all()
    others = torch.tensor([number for number in range(VOCABULARY) if number not in (7, 0, 4)])
    assert torch.equal(before[others], after[others])
    tokens = torch.tensor([[7, 7, 7]])
    changed = build(name) if name in CONFIGS else build_encoder(name)
    with torch.no_grad():
        one, other = (m(tokens) for m in (model, changed))
    values = [given if isinstance(given, torch.Tensor) else given.values for given in (one, other)]
    assert not torch.allclose(*values), "the table that was filled is the one that is read"


@pytest.mark.parametrize("name", [*LEARNED, *ENCODERS])
def test_another_width_names_both(name):
    model = member(name)
    rows = np.ones((1, model.input_table.embedding_dim + 1), np.float32)
    with pytest.raises(
        ValueError, match=rf"vectors of {rows.shape[1]} numbers.*has {rows.shape[1] - 1}; set model\."
    ):
        Start(EmbeddingStart(path="a"), (1,), rows, VOCABULARY).fill(model)


def test_a_model_that_counts_has_no_embedding():
    with pytest.raises(ValueError, match=r"model.kind=ngram has no embedding"):
        Start(EmbeddingStart(path="a"), (1,), np.ones((1, 3), np.float32), VOCABULARY).fill(build("ngram"))


def test_a_frozen_table_that_is_the_head_s_too_is_refused():
    for name, tied in (("gpt2", True), ("llama", False), ("rnn", True), ("gru", False)):
        model = member(name)
        start = Start(EmbeddingStart(path="a", frozen=True), (1,), np.ones((1, 32), np.float32), VOCABULARY)
        if model.input_table.embedding_dim != 32:
            start = Start(start.asked, (1,), np.ones((1, 24), np.float32), VOCABULARY)
        if tied:
            with pytest.raises(ValueError, match=r"set model.tied=false"):
                start.fill(model)
        else:
            start.fill(model)
            assert not model.input_table.weight.requires_grad


def test_rows_may_be_made_as_large_as_the_fresh_ones():
    model = CONFIGS["llama"].build(VOCABULARY)
    fresh = float(model.input_table.weight.detach().square().mean().sqrt())
    rows = 40 * np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32)
    Start(EmbeddingStart(path="a", scale="table"), tuple(range(9)), rows, VOCABULARY).fill(model)
    put = model.input_table.weight.detach()[:9]
    assert float(put.square().mean().sqrt()) == pytest.approx(fresh, rel=1e-4)
    assert np.corrcoef(put.numpy().ravel(), rows.ravel())[0, 1] == pytest.approx(1)


RECIPE = """
model: {kind: recurrent, hidden_size: 16, embedding_size: 6, depth: 1, tied: false}
training:
  max_steps: 4
  batch_size: 2
  window: 16
  save_steps: 2
  compile: false
  precision: float32
  optimizer: {kind: adamw, weight_decay: 0.1, learning_rate: 0.01}
  schedule: {kind: constant}
validation: {tokens: 200, final_bytes: 0}
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory, corpus):
    """Vectors for half of the words that a tokenizer of this corpus has."""
    folder = tmp_path_factory.mktemp("start")
    assert (
        command(
            ["tokenizer", "train", str(corpus), f"out={folder / 'tokenizer'}", "kind=word", "vocab_size=200"]
        )
        == 0
    )
    tokenizer = Tokenizer.load(folder / "tokenizer")
    known = [tokenizer.token_text(n) for n in range(tokenizer.vocab_size) if n not in tokenizer.special_ids]
    chosen = list(dict.fromkeys(name.strip() for name in known[::2] if name.strip()))
    (folder / "recipe.yaml").write_text(f"corpus: {corpus}\ntokenizer: {folder / 'tokenizer'}\n{RECIPE}")
    matrix = np.random.default_rng(3).normal(size=(len(chosen), 6)).astype(np.float32)
    write_vectors(WordVectors(chosen, matrix), folder / "words.vec")
    return folder


@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_begins_with_vectors_and_says_the_share(words, corpus, tmp_path, capsys, frozen):
    vectors = words / "words.vec"
    begun = [f"embedding.path={vectors}", f"embedding.frozen={str(frozen).lower()}"]
    asked = ["train", str(words / "recipe.yaml"), f"out={tmp_path / 'run'}"]
    assert command([*asked, *begun]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "tokens (" in out and ("frozen" in out) == frozen
    run = rootlm.load(tmp_path / "run", precision="float32")
    held = open_vectors(vectors).vectors
    learned = run.model.input_table.weight.detach().numpy()
    tokens = [n for n in range(run.tokenizer.vocab_size) if n not in run.tokenizer.special_ids]
    ids = [n for n in tokens if run.tokenizer.token_text(n).strip() in held]
    put = held.vectors([run.tokenizer.token_text(n).strip() for n in ids])
    assert f"{len(ids)} of {len(tokens)} tokens" in out
    if frozen:
        assert (learned[ids] == put).all(), "neither gradients nor decay may touch them"
    else:
        assert 0 < np.abs(learned[ids] - put).max() < 1
    # A model's own embedding is asked like any other vectors.
    word = held.words[0]
    assert (run.vectors[word] == learned[run.tokenizer.encode(word)[0]]).all()
    assert command(["vectors", "neighbours", str(tmp_path / "run"), word, "k=2"]) == 0


def test_a_resume_of_a_frozen_run_goes_on_to_the_same_bits(words, tmp_path):
    begun = [f"embedding.path={words / 'words.vec'}", "embedding.frozen=true"]
    assert command(["train", str(words / "recipe.yaml"), f"out={tmp_path / 'whole'}", *begun]) == 0
    overrides = [parse_override(*one.split("=", 1)) for one in [*begun, f"out={tmp_path / 'parts'}"]]
    recipe = read_recipe(str(words / "recipe.yaml"), overrides)
    said = []
    train(recipe, said.append, part=0.5)
    train(recipe, said.append)
    assert any("goes on from step 2" in line for line in said)
    one, other = (load_model(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_does_not_fit_is_said_before_anything_is_begun(words, corpus, tmp_path, capsys):
    asked = ["train", str(words / "recipe.yaml"), f"out={tmp_path / 'run'}"]
    begun = f"embedding.path={words / 'words.vec'}"
    assert command([*asked, "model.embedding_size=8", begun]) == 2
    assert "has vectors of 6 numbers" in capsys.readouterr().err
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    write_vectors(WordVectors(["zzzz"], np.ones((1, 6), np.float32)), tmp_path / "none.vec")
    assert command([*asked, f"embedding.path={tmp_path / 'none.vec'}"]) == 2
    assert "none of the" in capsys.readouterr().err
    assert command([*asked, begun, f"init_from={tmp_path}"]) == 2
    assert "keep one" in capsys.readouterr().err
    assert command([*asked, begun]) == 0, "a mistake leaves the folder free"
    assert json.loads((tmp_path / "run" / "request.json").read_text())["recipe"]["embedding"]["path"]
