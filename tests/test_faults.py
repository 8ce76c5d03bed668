"""What people get wrong on the way to a model: one line that names the place and the remedy, exit code 2."""

import json
import shutil
from pathlib import Path

import pytest

from rootlm.core import records


@pytest.fixture
def mine(corpus, tmp_path):
    """A corpus of one's own to spoil."""
    return Path(shutil.copytree(corpus, tmp_path / "mine", ignore=shutil.ignore_patterns("tokens")))


@pytest.fixture
def refused(commands, recipe, tmp_path):
    """Run a command that must be refused in one line; returns the line."""

    def run(*words, verb=("train",), **settings):
        ended = commands.run(*verb, str(recipe), f"out={tmp_path / 'run'}", *words, **settings)
        assert ended.code == 2, ended
        (line,) = ended.err.splitlines()
        assert line.startswith(f"rootlm {' '.join(verb)}: ")
        assert ended.out == ""
        return line

    return run


def edit(manifest, change):
    data = json.loads(manifest.read_text())
    change(data)
    manifest.write_text(json.dumps(data))


VERBS = [("train",), ("data", "batch")]


@pytest.mark.parametrize("verb", VERBS)
def test_a_corpus_that_is_not_there(refused, verb):
    line = refused("corpus=nowhere", verb=verb)
    assert "nowhere: no such folder; make a corpus with rootlm data prepare" in line


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_is_no_corpus(refused, tmp_path, verb):
    assert "holds no manifest.json, so it is no corpus" in refused(f"corpus={tmp_path}", verb=verb)


EMPTY = {"documents": 0, "bytes": 0, "characters": 0, "shards": []}


@pytest.mark.parametrize("verb", VERBS)
def test_a_corpus_without_documents(refused, mine, verb):
    said = f"{mine}: has no documents to train on; prepare it again with more text"
    edit(mine / "manifest.json", lambda data: data["splits"].update(train=EMPTY))
    assert said in refused(f"corpus={mine}", verb=verb)
    edit(mine / "manifest.json", lambda data: data["splits"].pop("train"))
    assert said in refused(f"corpus={mine}", verb=verb)


def test_a_validation_split_without_documents(refused, mine):
    edit(mine / "manifest.json", lambda data: data["splits"].update(validation=EMPTY))
    assert f"{mine}: has no split validation, only train, test;" in refused(f"corpus={mine}")


def test_a_validation_split_that_is_missing_and_the_remedy_it_names(
    refused, commands, recipe, mine, tmp_path
):
    edit(mine / "manifest.json", lambda data: data["splits"].pop("validation"))
    line = refused(f"corpus={mine}")
    assert f"{mine}: has no split validation, only train, test;" in line
    assert "validation.split=null" in line
    out = tmp_path / "other"
    ended = commands.run("train", str(recipe), f"corpus={mine}", f"out={out}", "validation.split=null")
    assert ended.code == 0, ended.err
    assert not records.of_kind(records.read(out / "metrics.jsonl"), "validation")
    assert (out / "model.safetensors").exists()


def test_a_shard_that_is_gone(refused, mine):
    (shard,) = mine.glob("train-*")
    shard.unlink()
    assert str(shard) in refused(f"corpus={mine}")


def test_a_shard_that_is_torn(refused, mine):
    (shard,) = mine.glob("train-*")
    shard.write_bytes(shard.read_bytes()[:-20])
    assert str(shard) in refused(f"corpus={mine}")


def test_a_store_that_another_tokenizer_made(refused, commands, recipe, mine, tmp_path):
    assert commands.run("train", str(recipe), f"corpus={mine}", f"out={tmp_path / 'first'}").code == 0
    (facts,) = mine.glob("tokens/*/train/store.json")
    edit(facts, lambda data: data.update(tokenizer="0" * 64))
    line = refused(f"corpus={mine}")
    assert f"{facts.parent}: the tokenizer does not match the store" in line


def test_a_store_that_is_torn(refused, commands, recipe, mine, tmp_path):
    assert commands.run("train", str(recipe), f"corpus={mine}", f"out={tmp_path / 'first'}").code == 0
    (ids,) = mine.glob("tokens/*/train/ids.bin")
    ids.write_bytes(ids.read_bytes()[:-2])
    line = refused(f"corpus={mine}")
    assert str(ids) in line
    assert "remove its folder to build it again" in line


def test_a_run_whose_tokenizer_was_exchanged(refused, commands, recipe, tmp_path):
    out = tmp_path / "run"
    assert commands.run("train", str(recipe), f"out={out}").code == 0
    file = out / "tokenizer.json"
    edit(file, lambda data: data["model"]["merges"].pop())
    line = refused()
    assert f"{file}: is not the tokenizer that this run was begun with" in line


def test_a_context_longer_than_any_document(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = ("model.context=1024", "training.batch_size=1", "training.max_steps=2")
    ended = commands.run("train", str(recipe), f"out={out}", *words)
    assert ended.code == 0, ended.err
    losses = [record["loss"] for record in records.of_kind(records.read(out / "metrics.jsonl"), "train")]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model.preset=gtp2", "command line: model.preset is 'gtp2'; did you mean gpt2?"),
        ("training.device=cuda:99", "device cuda:99"),
        ("training.precision=fp16", "training.precision is 'fp16'"),
        (
            "tokenizer=nowhere",
            "nowhere: cannot be read; expected a folder with tokenizer.json",
        ),
        ("tokenizer.vocab_size=100", "vocab_size=100 has no room"),
        ("tokenizer.vocab_size=100000", "entries; set vocab_size="),
        (
            "init_from=nowhere",
            "nowhere: init_from names no finished run; give the out folder of a rootlm train",
        ),
        ("training.max_steps=null", "how long? set training.minutes=…"),
        ("reference=nowhere.json", "nowhere.json"),
    ],
)
def test_a_setting_that_cannot_be_met(refused, word, said):
    assert said in refused(word)


def test_a_place_that_cannot_be_written(refused, recipe, tmp_path):
    assert f"{recipe}: cannot be made" in refused(f"out={recipe}")
    assert f"{recipe / 'run'}: cannot be made" in refused(f"out={recipe / 'run'}")


def test_a_folder_that_another_run_holds(refused, commands, recipe, tmp_path):
    out = tmp_path / "run"
    first = commands.start("train", str(recipe), f"out={out}", "training.max_steps=100000")
    line = ""

    def held():
        return (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size > 0

    def ready():
        nonlocal line
        if held():
            line = refused("training.max_steps=100000")
        return line

    first.kill_when(ready)
    assert f"{out}: another process is writing here" in line


def test_a_row_or_step_that_is_not_there(refused):
    assert "row 4: this step has rows 0 to 3" in refused("row=4", verb=("data", "batch"))
    assert "step is -1, expected greater than or equal to 0" in refused("step=-1", verb=("data", "batch"))


def test_a_word_too_many(refused):
    assert "'more' is one word too many; settings are written key=value" in refused("more")
