"""Models by their names: the real client of Hugging Face's, asking a hub on this machine."""

import shutil

import pytest
import torch

import rootlm
from local_hub import COMMIT, local_hub
from published_folders import llama_folder
from rootlm.runs.sentence_folders import SentenceWay, write_way
from test_published_encoders import bert_folder

TOKEN = "hf_secret"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    llama, sentences = tmp_path_factory.mktemp("llama"), tmp_path_factory.mktemp("sentences")
    llama_folder(llama)
    bert_folder(sentences)
    write_way(sentences, SentenceWay("cls", longest=12), 48, 64)
    for folder in (llama, sentences):
        (folder / "onnx").mkdir()
        shutil.copyfile(folder / "model.safetensors", folder / "onnx" / "model.safetensors")
        (folder / "pytorch_model.bin").write_bytes(b"for older programs")
    return {"some/llama": llama, "some/sentences": sentences}


@pytest.fixture
def hub(folders):
    with local_hub(folders, TOKEN) as hub:
        yield hub


@pytest.fixture
def ask(hub, commands, tmp_path):
    def ask(*words, **more):
        home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0"}
        return commands.run(*words, env={**home, **more})

    return ask


def test_a_model_comes_by_its_name(hub, ask, folders, tmp_path):
    ended = ask("import", "some/llama", f"out={tmp_path / 'run'}")
    assert ended.code == 2
    assert ended.err.strip().count("\n") == 0
    assert "some/llama: no such folder here, and the hub does not give it: 401" in ended.err
    hub.breaks_after = 1000
    ended = ask("import", "some/llama", f"out={tmp_path / 'run'}", HF_TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    assert hub.breaks_after is None
    text = "床前明月光"
    found, expected = (rootlm.load(place).model for place in (tmp_path / "run", folders["some/llama"]))
    ids = torch.tensor([rootlm.load(tmp_path / "run").tokenizer.encode(text)])
    assert torch.equal(found(ids).values, expected(ids).values)
    given = {path.rpartition(f"{COMMIT}/")[2] for method, path, _ in hub.asked if method == "GET"}
    assert "model.safetensors" in given
    assert not given & {"onnx/model.safetensors", "pytorch_model.bin"}
    hub.asked.clear()
    ended = ask("import", "some/llama", f"out={tmp_path / 'again'}", HF_HUB_OFFLINE="1")
    assert ended.code == 0, ended.err
    assert not hub.asked


def test_a_sentence_encoder_brings_how_texts_become_vectors(hub, ask, folders, tmp_path):
    ended = ask("import", "some/sentences", f"out={tmp_path / 'run'}", HF_TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    assert rootlm.load(tmp_path / "run").way == SentenceWay("cls", longest=12)


def test_a_name_that_the_hub_does_not_know_is_one_line(ask, tmp_path):
    ended = ask("import", "some/other", f"out={tmp_path / 'run'}", HF_TOKEN=TOKEN)
    assert ended.code == 2
    assert ended.err.strip().count("\n") == 0
    assert "some/other: no such folder here, and the hub does not give it: 404" in ended.err
    assert not (tmp_path / "run").exists()
