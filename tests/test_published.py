"""Published folders in, proven folders out: journeys, and every way in which a folder can be wrong."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import rootlm
from commands import ENVIRONMENT
from members import build
from published_folders import TEMPLATE, edit, llama_folder
from rootlm.cli.main import run as command
from rootlm.layers.positions import AlibiConfig
from rootlm.models.catalog import load_model, save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign.foreign_model import ForeignModel
from rootlm.models.foreign.gguf_model import write_gguf
from rootlm.models.foreign.hugging_face_folder import open_folder
from rootlm.runs.verified import verify
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import train
from rootlm.tokenizers.words import Words
from toys import byte_tokenizer


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    llama_folder(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


@pytest.fixture(scope="module")
def reference(original):
    return transformers.AutoModelForCausalLM.from_pretrained(original, dtype=torch.float32).eval()


def said(capsys, *words):
    """Run a command; returns its exit code and what it said, in one line where it failed."""
    capsys.readouterr()
    code = command(list(words))
    out, err = capsys.readouterr()
    assert code == 0 or err.strip().count("\n") == 0, err
    return code, out + err


def continued(reference, folder, prompt):
    """Return the greedy continuation of a prompt by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    written = reference.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
    return written[0, ids.shape[1] :].tolist()


def test_a_folder_is_a_run_and_comes_back_the_same(original, reference, tmp_path, capsys):
    """Import, generate, export, and the foreign library reads on as if nothing had happened."""
    expected = continued(reference, original, "The sea is")
    run, back = tmp_path / "run", tmp_path / "back"
    assert said(capsys, "import", str(original), f"out={run}")[0] == 0
    for place in (original, run):
        opened = rootlm.load(place, precision="float32")
        ((one,),) = opened.generations("The sea is", temperature=0, max_new_tokens=12)
        assert list(one.tokens) == expected[: len(one.tokens)]
        assert (opened.sampling.temperature, opened.sampling.top_p) == (0.6, 0.9)
        assert opened.end_ids == {1}
    code, text = said(capsys, "export", str(run), "--to", "hf", f"out={back}", "shard_bytes=40000")
    assert code == 0
    assert "ids of 104 texts are the same" in text
    assert len(list(back.glob("model-*.safetensors"))) > 1
    again = transformers.AutoModelForCausalLM.from_pretrained(back, dtype=torch.float32).eval()
    assert continued(again, back, "The sea is") == expected
    assert transformers.AutoTokenizer.from_pretrained(back).chat_template == TEMPLATE
    assert transformers.GenerationConfig.from_pretrained(back).temperature == 0.6
    assert "ids of 104 texts are the same" in (back / "README.md").read_text()
    assert said(capsys, "verify", str(original), str(back))[0] == 0
    assert said(capsys, "verify", str(run), str(back), "reader=rootlm")[0] == 0


def test_what_the_tokenizer_has_no_name_for_is_never_said(original):
    opened = rootlm.load(original, precision="float32")
    assert opened.model.vocab_size == 352
    assert opened.tokenizer.vocab_size == 340
    texts = opened.generations("", n=20, max_new_tokens=30, temperature=3.0, seed=0)[0]
    assert max(token for one in texts for token in one.tokens) < 340


def test_a_run_of_ours_reads_the_same_prompt_outside(tmp_path, capsys):
    """Its tokenizer adds no begin mark to a text, the model has always read one: the export sees to it."""
    run, out = tmp_path / "run", tmp_path / "out"
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    save_model(DecoderConfig(depth=1, hidden_size=32, n_heads=2, context=48).build(tokenizer.vocab_size), run)
    tokenizer.save(run)
    code, text = said(capsys, "export", str(run), "--to", "hf", f"out={out}", "dtype=bfloat16")
    assert code == 0, text
    outside = transformers.AutoTokenizer.from_pretrained(out)
    assert outside("床前 a")["input_ids"] == [tokenizer.bos_id, *tokenizer.encode("床前 a")]
    assert load_file(out / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == tokenizer.eos_id


def test_training_begins_from_a_folder(folder, corpus, commands, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {folder}\nout: {tmp_path / 'begun'}\n"
        "training: {max_steps: 2, batch_size: 2, window: 32, precision: float32, compile: false}\n"
        "validation: {tokens: 200}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 0, ended.err
    begun, before = load_model(tmp_path / "begun"), load_model(folder)
    assert begun.config == before.config
    assert begun.vocab_size == 352
    moved = (begun.embedding.weight - before.embedding.weight).abs().max()
    assert 0 < moved < 0.1
    assert "chat_template" in json.loads((tmp_path / "begun/tokenizer_config.json").read_text())
    ended = commands.run("export", str(tmp_path / "begun"), "to=hf", f"out={tmp_path / 'hf'}")
    assert ended.code == 0, ended.err


def test_a_context_too_long_to_train_on_unasked_is_asked_for(folder, corpus, commands, tmp_path):
    edit(folder / "config.json", max_position_embeddings=131072)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {folder}\nout: {tmp_path / 'begun'}\ntraining: {{max_steps: 2}}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 2
    assert "training.window: this model reads up to 131,072 tokens" in ended.err


def test_a_name_of_the_hub_is_found_in_its_cache_without_a_network(original, tmp_path, commands):
    held = tmp_path / "home" / "hub" / "models--some--tiny"
    commit = "0" * 40
    shutil.copytree(original, held / "snapshots" / commit)
    (held / "refs").mkdir()
    (held / "refs" / "main").write_text(commit)
    env = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    ended = commands.run("import", "some/tiny", f"out={tmp_path / 'run'}", env=env)
    assert ended.code == 0, ended.err
    assert torch.equal(load_model(tmp_path / "run").norm.weight, load_model(original).norm.weight)
    ended = commands.run("import", "some/other", f"out={tmp_path / 'other'}", env=env)
    assert ended.code == 2
    assert "some/other: no such folder here, and the hub does not give it" in ended.err
    assert ended.err.strip().count("\n") == 0
    assert not (tmp_path / "other").exists()


def test_a_gguf_file_is_a_run_too(original, reference, tmp_path, capsys):
    file, run = tmp_path / "tiny.gguf", tmp_path / "run"
    spec, template = ((original / name).read_text() for name in ("tokenizer.json", "chat_template.jinja"))
    config = json.loads((original / "config.json").read_text())
    said_by = {"bos_token_id": 0, "eos_token_id": 1, "temperature": 0.6}
    write_gguf(file, ForeignModel(config, open_folder(original).tensors, spec, template, said_by), "F32")
    opened = rootlm.load(file, precision="float32")
    ((one,),) = opened.generations("The sea is", temperature=0, max_new_tokens=12)
    assert list(one.tokens) == continued(reference, original, "The sea is")[: len(one.tokens)]
    assert (opened.end_ids, opened.sampling.temperature) == ({1}, 0.6)
    assert said(capsys, "import", str(file), f"out={run}")[0] == 0
    assert verify(run, original).agrees


def test_pickled_weights_are_read_as_tensors_only(folder):
    tensors = load_file(folder / "model.safetensors")
    expected = load_model(folder)
    (folder / "model.safetensors").unlink()
    for how in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(tensors, folder / "pytorch_model.bin", **how)
        found = load_model(folder)
        for name, parameter in expected.named_parameters():
            assert torch.equal(found.get_parameter(name), parameter), name


class Trap:
    """Writes a file when it is unpickled by who trusts it."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (self.file,)


def test_a_program_in_pickled_weights_is_not_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"a": Trap(str(tmp_path / "ran"))}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="holds more than tensors"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def shards(folder):
    """Write the weights anew in several files."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    return sorted(folder.glob("model-*.safetensors"))


def lose_a_shard(folder):
    shards(folder)[1].unlink()


def name_an_absent_tensor(folder):
    names = [file.name for file in shards(folder)]
    index = folder / "model.safetensors.index.json"
    held = json.loads(index.read_text())["weight_map"]
    edit(index, weight_map={**held, "model.layers.7.mlp.up_proj.weight": names[0]})


def point_outside(folder):
    shards(folder)
    edit(folder / "model.safetensors.index.json", weight_map={"model.norm.weight": "../other.safetensors"})


def change(name, make):
    def work(folder):
        tensors = load_file(folder / "model.safetensors")
        made = make(tensors)
        tensors.pop(name, None)
        save_file(
            tensors | ({} if made is None else {name: made}), folder / "model.safetensors", {"format": "pt"}
        )

    return work


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def lie(folder):
    """A header that says a tensor is of a size that no memory has."""
    header = json.dumps(
        {"model.norm.weight": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]}}
    )
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())


def endless_header(folder):
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")


def of_config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def enlarge_tokenizer(folder):
    Tokenizer.load(folder).with_special([f"<|more {n}|>" for n in range(40)]).save(folder)


def lose(name):
    return lambda folder: (folder / name).unlink()


PROJECTION = "model.layers.1.self_attn.k_proj.weight"
WRONG = {
    "a shard is missing": (lose_a_shard, r"model-00002-of-\d+.safetensors: missing, though"),
    "the index names what is not there": (name_an_absent_tensor, "names model.layers.7.mlp.up_proj.weight"),
    "the index points outside": (point_outside, "names '../other.safetensors'"),
    "a tensor is missing": (change(PROJECTION, lambda held: None), f"holds no {PROJECTION}"),
    "a tensor is misshapen": (
        change(PROJECTION, lambda held: held[PROJECTION][:-1].clone()),
        rf"{PROJECTION} is \(15, 48\), config.json asks for \(16, 48\)",
    ),
    "a tensor is left over": (
        change("model.layers.0.lora.weight", lambda held: torch.zeros(2)),
        "holds model.layers.0.lora.weight, which rootlm has no place for",
    ),
    "a type is not known": (
        change(PROJECTION, lambda held: held[PROJECTION].to(torch.float8_e4m3fn)),
        f"{PROJECTION} has type F8_E4M3",
    ),
    "the weights are cut short": (cut, "is cut short"),
    "the header lies": (lie, "is cut short"),
    "the header has no end": (endless_header, "its header has no end"),
    "the weights are missing": (lose("model.safetensors"), "holds no model.safetensors"),
    "the tokenizer is missing": (lose("tokenizer.json"), "tokenizer.json: cannot be read"),
    "the model type is unknown": (
        of_config(model_type="llamma"),
        "model_type 'llamma' is not supported; did you mean",
    ),
    "a key is not known": (of_config(residual_multiplier=0.2), "residual_multiplier=0.2 is not supported"),
    "it is quantised": (
        of_config(quantization_config={"quant_method": "gptq"}),
        "quantization_config=.* is not supported",
    ),
    "an activation is not known": (of_config(hidden_act="relu6"), "hidden_act='relu6' is not supported"),
    "a scaling is not known": (
        of_config(rope_parameters=None, rope_scaling={"rope_type": "spiral", "factor": 2.0}),
        "rope_type='spiral' is not supported",
    ),
    "a scaling has no factor": (
        of_config(rope_parameters=None, rope_scaling={"rope_type": "linear"}),
        "rope_scaling.factor is missing",
    ),
    "heads turn in part": (
        of_config(rope_parameters=None, partial_rotary_factor=0.5),
        "partial_rotary_factor=0.5 is not supported",
    ),
    "a size is no number": (of_config(hidden_size="wide"), "hidden_size is 'wide', expected a whole number"),
    "there are too many layers": (of_config(num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
    "a size is missing": (of_config(intermediate_size=None), "intermediate_size is missing"),
    "heads do not divide": (of_config(num_key_value_heads=4), "n_heads 6 is not a multiple of n_kv_heads 4"),
    "an end is no token": (
        lambda folder: edit(folder / "generation_config.json", eos_token_id=[1, 352]),
        "generation_config.json: eos_token_id names 352, which no text can end with",
    ),
    "the tokenizer is too large": (enlarge_tokenizer, "tokenizer.json has 380 tokens, config.json 352"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_folder_that_is_wrong_is_refused_in_one_line(name, folder, tmp_path, capsys):
    spoil, expected = WRONG[name]
    spoil(folder)
    with pytest.raises(ValueError, match=expected) as caught:
        rootlm.load(folder)
    assert "\n" not in str(caught.value)
    code, text = said(capsys, "import", str(folder), f"out={tmp_path / 'run'}")
    assert code == 2, text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["import", "./nowhere", "out=x"], "./nowhere: no such folder; give a path, or a name of the hub"),
        (["import", "{run}", "out=x"], "is no published model"),
        (["import", "{folder}", "out={folder}"], "exists already; choose another out="),
        (["import", "{folder}", "out=x", "revision=main"], "is a folder here, which has but one"),
        (["export", "{folder}", "to=hf", "out={folder}"], "exists already"),
        (["export", "{alibi}", "to=hf", "out=x"], "no Hugging Face family has this network"),
        (["export", "{folder}", "to=arpa", "out=x"], "holds a decoder, and ARPA holds n-grams"),
        (["verify", "{folder}", "nowhere"], "nowhere: no such folder"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(words, expected, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"folder": folder, "run": tmp_path / "run", "alibi": tmp_path / "alibi"}
    tokenizer = byte_tokenizer()
    for name, position in (("run", None), ("alibi", AlibiConfig())):
        save_model(
            DecoderConfig(depth=1, hidden_size=32, position=position).build(tokenizer.vocab_size),
            places[name],
        )
        tokenizer.save(places[name])
    code, text = said(capsys, *(word.format(**places) for word in words))
    assert code == 2, text
    assert expected in text
    assert not (tmp_path / "x").exists()


def test_word_vectors_and_n_grams_leave_by_the_same_door(folder, tmp_path, capsys):
    file, arpa, run = tmp_path / "words.vec", tmp_path / "three.arpa", tmp_path / "three"
    assert said(capsys, "export", str(folder), "to=word2vec", f"out={file}")[0] == 0
    assert file.read_text().split("\n")[0].split()[1] == "48"
    tokenizer = byte_tokenizer()
    save_model(build("ngram", tokenizer.vocab_size), run)
    tokenizer.save(run)
    code, text = said(capsys, "export", str(run), "to=arpa", f"out={arpa}")
    assert code == 0, text
    assert "3-grams" in text
    assert arpa.read_text().lstrip().startswith("\\data\\")


def test_an_export_that_says_something_else_is_removed(folder, tmp_path, capsys):
    """A tokenizer that only our own code can follow: it cuts Chinese into words."""
    run, out = tmp_path / "run", tmp_path / "out"
    tokenizer = train(Words(vocab_size=60), ["我爱北京天安门 and the sea", "今天天气很好，我们去公园"] * 30)
    save_model(DecoderConfig(depth=1, hidden_size=32).build(tokenizer.vocab_size), run)
    tokenizer.save(run)
    code, text = said(capsys, "export", str(run), "to=hf", f"out={out}")
    assert code == 2
    assert "so it was removed: ids of " in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tiny"]


def test_verify_finds_one_weight_and_one_id(folder, original, tmp_path, capsys):
    assert verify(original, folder).agrees
    change(PROJECTION, lambda held: held[PROJECTION] + 1e-3 * torch.eye(16, 48))(folder)
    found = verify(original, folder)
    assert not found.agrees
    assert found.largest > found.allowed
    shutil.copyfile(original / "model.safetensors", folder / "model.safetensors")
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["model"]["merges"].pop(0)
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    code, text = said(capsys, "verify", str(original), str(folder))
    assert code == 2
    assert "differ from place" in text


MEASURE = """
import sys
from pathlib import Path
import torch
from rootlm.core import machine
from rootlm.runs.opened import load

def read(folder):
    model = load(folder, precision="float32").model
    with torch.inference_mode():
        model(torch.arange(9)[None])
    return model

# What every reading takes, however small the model, is not counted.
small, *large = map(Path, sys.argv[1:])
read(small)
for folder in large:
    machine.forget_peak_memory()
    before = machine.resident_memory()
    model = read(folder)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    print((machine.peak_memory() - before) / weights)
    del model
"""


def test_loading_takes_no_second_copy(original, tmp_path):
    """Neither of weights that are used as they lie on disk nor of those that are widened."""
    model = llama_folder(tmp_path / "float32", hidden_size=768, intermediate_size=3072, num_hidden_layers=4)
    shutil.copytree(original, tmp_path / "bfloat16")
    (tmp_path / "bfloat16/model.safetensors").unlink()
    for kind in (torch.float32, torch.bfloat16):
        folder = tmp_path / str(kind).removeprefix("torch.")
        (folder / "model.safetensors").unlink(missing_ok=True)
        model.to(kind).save_pretrained(folder, max_shard_size="40MB")
    folders = [original, tmp_path / "float32", tmp_path / "bfloat16"]
    shares = subprocess.run(
        [sys.executable, "-c", MEASURE, *folders], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    for share in shares.stdout.split():
        assert 0.3 < float(share) < 1.15, shares.stdout


def test_a_file_of_the_bare_network_is_read_too(tmp_path):
    """GPT-2 on the hub has names without their prefix, and buffers that are no weights."""
    config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=8)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.config.save_pretrained(tmp_path)
    held = {
        name.removeprefix("transformer."): value.clone()
        for name, value in model.transformer.state_dict().items()
    }
    held |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(2)}
    save_file(held, tmp_path / "model.safetensors", {"format": "pt"})
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        found = open_folder(tmp_path).network()(tokens).values
        torch.testing.assert_close(found, model(tokens).logits, rtol=0, atol=1e-5)
