"""A counted model goes the way of all models: trained, opened, scored, written out, by the same verbs."""

import json

import kenlm
import pytest

import rootlm
from rootlm.cli.main import run as command
from rootlm.models.ngram import Ngram

COUNTED = ["tokenizer.kind=character", "tokenizer.vocab_size=300", "model.kind=ngram", "model.order=3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus):
    out = tmp_path_factory.mktemp("counted") / "run"
    assert command(["train", "small", f"corpus={corpus}", f"out={out}", *COUNTED]) == 0
    return out


def test_a_counted_run_leaves_what_every_run_leaves(folder):
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "recipe.yaml",
        "README.md",
        "report.html",
    ):
        assert (folder / name).is_file(), name
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["kind"] for record in records] == ["start", "validation", *["generalisation"] * 3, "end"]
    assert records[0]["parameters"] > 300 and 0 < records[1]["bits_per_byte"] < 8


def test_a_counted_run_scores_and_speaks(folder, corpus):
    run = rootlm.load(folder)
    assert isinstance(run.model, Ngram)
    assert len(run.generate("a", max_new_tokens=20, seed=1)) > 0
    (scored,) = run.score("a")
    steps = run.model.path([run.tokenizer.bos_id], int(scored.ids[0]))
    assert sum(step.nats for step in steps) == pytest.approx(scored.nats[0], abs=1e-5)


def test_the_same_command_again_says_that_it_is_finished(folder, corpus, capsys):
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert command(["train", "small", f"corpus={corpus}", f"out={folder}", *COUNTED]) == 0
    assert "finished" in capsys.readouterr().out
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_counted_run_is_written_as_arpa(folder, tmp_path, capsys):
    assert command(["ngram", "arpa", str(folder), f"out={tmp_path / 'run.arpa'}"]) == 0
    assert kenlm.Model(str(tmp_path / "run.arpa")).order == 3


def test_torn_tables_are_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    from rootlm.models.catalog import load_model

    tensors = load_file(folder / "model.safetensors")
    tensors["starts"] = tensors["starts"].flip(0).contiguous()
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="the tables are torn"):
        load_model(tmp_path)
