"""Published folders that are torn or lie, and exports that end too early: one line, and nothing is lost."""

import base64
import importlib.util
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import encoder_families
import foreign_families
import foreign_pairs
import rootlm
from commands import ENVIRONMENT
from members import build
from pair_folders import bart_folder, marian_folder, t5_folder
from published_folders import edit, llama_folder
from rootlm.cli.main import run as command
from rootlm.models.catalog import save_model
from rootlm.models.foreign.registry import FAMILIES
from rootlm.runs import classical_exported
from test_published_encoders import bert_folder, pooled_by
from toys import byte_tokenizer

PROJECTION = "model.layers.1.self_attn.k_proj.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    llama_folder(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused in one line; returns the line."""

    def run(*words):
        capsys.readouterr()
        code = command([str(word) for word in words])
        said = capsys.readouterr().err
        assert code == 2, said
        assert said.strip().count("\n") == 0, said
        return said

    return run


def pickled(make):
    def work(folder):
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        made = make(tensors)
        (folder / "pytorch_model.bin").write_bytes(made) if isinstance(made, bytes) else torch.save(
            made, folder / "pytorch_model.bin"
        )

    return work


def pickled_shards(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "one.bin")
    named = dict.fromkeys([*tensors, "model.layers.7.mlp.up_proj.weight"], "one.bin")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": named}))


def changed(name, make):
    def work(folder):
        tensors = load_file(folder / "model.safetensors")
        tensors[name] = make(tensors.get(name))
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return work


def written(name, content):
    return lambda folder: (folder / name).write_text(content)


def of(name, **changes):
    return lambda folder: edit(folder / name, **changes)


def index(*names):
    def work(folder):
        (folder / "model.safetensors").rename(folder / "one.safetensors")
        held = {"weight_map": {str(place): name for place, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(held))

    return work


def header(entry):
    def work(folder):
        text = json.dumps({"a": entry}).encode()
        (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))

    return work


SPEAKING = "generation_config.json"
ROTARY = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0], "long_factor": [2.0]}
WRONG = {
    "a tensor has no name": (pickled(lambda held: {1: torch.ones(2)}), "pytorch_model.bin: 1 is no tensor"),
    "a pickled tensor is sparse": (
        pickled(lambda held: {**held, PROJECTION: held[PROJECTION].to_sparse()}),
        f"{PROJECTION} is sparse_coo",
    ),
    "pickled weights are no numbers of ours": (
        pickled(lambda held: {**held, PROJECTION: held[PROJECTION].to(torch.complex64)}),
        f"{PROJECTION} is of type complex64",
    ),
    "pickled weights are empty": (pickled(lambda held: b""), "pytorch_model.bin: cannot be read"),
    "pickled weights are a pointer": (pickled(lambda held: POINTER.encode()), "run git lfs pull"),
    "the pickled index names what is not there": (pickled_shards, "names model.layers.7.mlp.up_proj.weight"),
    "the weights are a pointer": (written("model.safetensors", POINTER), "is a pointer of git-lfs"),
    "the index points up": (index(".."), "names '..', which is no file beside it"),
    "the index points far up": (index("../../x.safetensors"), "names '../../x.safetensors'"),
    "the index points into the system": (index("/etc/passwd"), "names '/etc/passwd'"),
    "the index names nothing": (index(""), "names '', which is no file"),
    "the index has an endless name": (index("x" * 5000), "which is no file beside it"),
    "three offsets": (
        header({"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}),
        "the place of a is none",
    ),
    "weights are whole numbers": (
        changed(PROJECTION, lambda held: held.to(torch.int8)),
        f"{PROJECTION} is of type int8, which no weights are",
    ),
    "two matrices for one": (
        changed("lm_head.weight", lambda _: torch.ones(352, 48)),
        "lm_head.weight is not model.embed_tokens.weight, though config.json says that they are one",
    ),
    "the config is a list": (written("config.json", "[]"), "config.json: holds a list"),
    "the config is no JSON": (written("config.json", "{model_type: llama}"), "config.json: not valid JSON"),
    "the config is empty": (written("config.json", ""), "config.json: not valid JSON"),
    "the config names no family": (written("config.json", "{}"), "names no model_type"),
    "a base is too small": (
        of("config.json", rope_parameters={"rope_type": "default", "rope_theta": 1}),
        "theta: ",
    ),
    "LongRoPE has too few numbers": (
        of("config.json", rope_parameters=ROTARY),
        "short_factor has 1 numbers, but 4 pairs turn",
    ),
    "a scaling reaches too far": (
        of("config.json", rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 1e12}),
        "a context of at most",
    ),
    "the way of speaking is a list": (written(SPEAKING, "[]"), f"{SPEAKING}: holds a list"),
    "the way of speaking is null": (written(SPEAKING, "null"), f"{SPEAKING}: holds a NoneType"),
    "an end is no id": (of(SPEAKING, eos_token_id=[[1]]), f"{SPEAKING}: eos_token_id is"),
    "an end is a name": (of("config.json", eos_token_id="<|end|>"), "eos_token_id"),
    "two settings are wrong": (of(SPEAKING, temperature=-1, top_p=3), "temperature is -1.*; .*top_p is 3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_folder_that_is_wrong_is_refused_in_one_line(name, folder, tmp_path, refused):
    spoil, expected = WRONG[name]
    spoil(folder)
    with pytest.raises(ValueError, match=expected) as caught:
        rootlm.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert str(folder) in refused("import", folder, f"out={tmp_path / 'run'}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_let_in_and_say_nothing(value, folder, tmp_path, refused):
    def broken(held):
        held[0, 0] = value
        return held

    changed(PROJECTION, broken)(folder)
    said = refused("import", folder, f"out={tmp_path / 'run'}")
    assert f"{folder}: blocks.1.attention.qkv.weight holds what is no number" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]
    for more in (
        ["temperature=0"],
        ["temperature=1"],
        ["temperature=1", "top_p=1", "num_beams=2"],
        ["next=3"],
    ):
        assert "logits are no numbers" in refused("generate", folder, "The sea", *more), more


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (of("config.json", num_attention_heads=0), "transformers cannot open it: ZeroDivisionError"),
        (of("config.json", hidden_size="wide"), "transformers cannot open it"),
        (of("config.json", model_type=["llama"]), "transformers cannot open it"),
        (written("model.safetensors", POINTER), "transformers cannot open it: SafetensorError"),
        (written("tokenizer.json", "[]"), "transformers cannot open it"),
        (written(SPEAKING, "[]"), "transformers cannot open it"),
        (written("chat_template.jinja", "{{ 1 / 0 }}"), "transformers .* has no text for it"),
        (written("chat_template.jinja", "{% import 'os' as os %}"), "transformers .* has no text for it"),
    ],
)
def test_what_transformers_dies_of_is_one_line(spoil, expected, folder, original, refused):
    spoil(folder)
    said = refused("verify", original, folder)
    assert str(folder) in said
    assert re.search(expected, said), said


@pytest.mark.parametrize(
    "template", ["", "{{ '' }}", "{{ 1 / 0 }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"]
)
def test_templates_that_say_nothing_or_break_do_not_stop_an_export(template, folder, tmp_path, capsys):
    (folder / "chat_template.jinja").write_text(template)
    for to in (["hf"], ["gguf", "type=f32"]):
        code = command(["export", str(folder), "--to", *to, f"out={tmp_path / to[0]}"])
        said = capsys.readouterr().err
        assert code in (0, 2), said
        assert said.strip().count("\n") == 0, said
        assert (to[0] == "gguf" and code == 2) or code == 0, said


def peft_folder(folder):
    llama_folder(folder.with_name("base"))
    base = transformers.AutoModelForCausalLM.from_pretrained(folder.with_name("base"))
    get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"])).save_pretrained(folder)
    edit(folder / "adapter_config.json", base_model_name_or_path=str(folder.with_name("base")))


def sentence_folder(folder):
    bert_folder(folder, transformers.BertModel)
    pooled_by(folder, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})


KINDS = {
    "llama": (llama_folder, ("generate", "The sea", "max_new_tokens=2")),
    "marian": (marian_folder, ("translate", "The sea.", "max_new_tokens=2")),
    "t5": (t5_folder, ("translate", "The sea.", "max_new_tokens=2")),
    "bart": (bart_folder, ("translate", "The sea.", "max_new_tokens=2")),
    "bert": (bert_folder, ("fill", "The [MASK] sea.")),
    "sentences": (sentence_folder, ("similarity", "The sea.", "A ship.")),
    "peft": (peft_folder, None),
}
VALUES = (None, "x", "", -1, 0, 1.5, True, 1 << 40, [], [None], [1, "a"], {}, {"a": 1})
MUTATIONS = 24


def places(held, before=()):
    """Yield where something stands in a JSON file; the entries of a vocabulary are left out."""
    pairs = held.items() if isinstance(held, dict) else enumerate(held[:20] if isinstance(held, list) else ())
    for key, value in pairs:
        yield (*before, key)
        if key not in ("vocab", "merges", "added_tokens") and len(before) < 4:
            yield from places(value, (*before, key))


def with_value(held, place, value):
    held = json.loads(json.dumps(held))
    inner = held
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return held


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_setting_says_it_is_understood_or_refused_in_one_line(kind, tmp_path, capsys):
    """Settings of every file, drawn at random, say something of another kind."""
    make, words = KINDS[kind]
    folder, random_ = tmp_path / "hub", random.Random(7)
    make(folder)
    files = [file for file in sorted(folder.rglob("*.json")) if not file.name.endswith("vocab.json")]
    every = [
        (file, place, value)
        for file in files
        for place in places(json.loads(file.read_text()))
        for value in VALUES
    ]
    uses = [["import", str(folder), f"out={tmp_path / 'run'}"]]
    uses += [[words[0], str(folder), *words[1:]]] if words else []
    for file, place, value in random_.sample(every, MUTATIONS):
        before = file.read_text()
        file.write_text(json.dumps(with_value(json.loads(before), place, value)))
        for use in uses:
            capsys.readouterr()
            code, said = command(use), capsys.readouterr().err
            told = f"{file.name} {place} {value!r}: {said}"
            assert code == 0 or (code == 2 and said.strip().count("\n") == 0), told
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
        file.write_text(before)


SMALL_DISK = """
import resource, sys
from rootlm.cli.main import run
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["import"], ["export", "to=hf"], ["export", "to=gguf", "type=f32"]])
def test_a_disk_without_room_leaves_nothing(words, folder, tmp_path):
    verb, *more = words
    asked = [sys.executable, "-c", SMALL_DISK, verb, str(folder), *more, f"out={tmp_path / 'out'}"]
    ended = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.strip().count("\n") == 0
    assert str(tmp_path / "out") in ended.stderr
    assert ".partial" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_a_killed_export_leaves_nothing_that_stays(folder, commands, tmp_path, capsys):
    """What is half written has a hidden name; the next export of that name removes it."""
    out = tmp_path / "out"
    started = commands.start("export", str(folder), "to=hf", f"out={out}")
    started.kill_when(lambda: list(tmp_path.glob(".out.*.partial/config.json")), signal.SIGKILL)
    assert not out.exists()
    assert list(tmp_path.glob(".out.*.partial"))
    assert command(["export", str(folder), "to=hf", f"out={out}"]) == 0, capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny"]


def test_ranks_that_do_not_say_how_text_is_cut_ask_for_it_and_take_it(folder, tmp_path, refused, capsys):
    out = tmp_path / "run"
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    ranks = [base64.b64encode(bytes([byte])).decode() + f" {byte}" for byte in range(256)]
    (folder / "made.tiktoken").write_text("\n".join(ranks))
    said = refused("import", folder, f"out={out}")
    assert f"{folder / 'made.tiktoken'}: ranks do not say how text is cut; pass pattern=…" in said
    assert command(["import", str(folder), f"out={out}", "pattern=gpt2"]) == 0, capsys.readouterr().err
    assert rootlm.load(out).tokenizer.encode("a é") == list("a é".encode())


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_tokenizer_whose_pad_is_its_end_is_refused_and_the_remedy_works(
    form, folder, tmp_path, refused, capsys
):
    out, end = tmp_path / "run", "<|end|>"
    if form == "file":
        assert command(["export", str(folder), "to=gguf", "type=f32", f"out={tmp_path / 'gguf'}"]) == 0
        file = next((tmp_path / "gguf").glob("*.gguf"))
        key = b"tokenizer.ggml.padding_token_id"
        place = file.read_bytes().index(key) + len(key) + 4
        content = bytearray(file.read_bytes())
        content[place : place + 4] = (1).to_bytes(4, "little")
        file.write_bytes(content)
        source = file
    else:
        edit(folder / "tokenizer_config.json", pad_token=end)
        source = folder
    for words in (["generate", source, "The sea"], ["import", source, f"out={out}"]):
        said = refused(*words)
        assert f"{source}: pad and eos are both {end!r}" in said
        assert "rootlm import … pad=none" in said
    for pad, expected in (("none", None), ("<|pad|>", 2)):
        assert command(["import", str(source), f"out={out}", f"pad={pad}"]) == 0, capsys.readouterr().err
        assert rootlm.load(out).tokenizer.pad_id == expected
        shutil.rmtree(out)


HOLDS = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print(flush=True)
time.sleep(60)
"""


def test_what_another_process_is_writing_is_left_alone(folder, tmp_path, capsys):
    busy = tmp_path / ".out.1.partial"
    busy.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(busy)], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert command(["export", str(folder), "to=hf", f"out={tmp_path / 'out'}"]) == 0, (
            capsys.readouterr().err
        )
        assert busy.exists()
        other.kill()


def ngram_run(folder):
    tokenizer = byte_tokenizer()
    save_model(build("ngram", tokenizer.vocab_size), folder)
    tokenizer.save(folder)
    return folder


FILES = {
    "arpa": ("three.arpa", "rootlm beside KenLM"),
    "word2vec": ("words.vec", "rootlm beside gensim"),
    "word2vec in bytes": ("words.bin", "rootlm beside gensim"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_the_classical_kinds_are_opened_again(kind, folder, tmp_path, capsys, monkeypatch):
    """By the library that they are for; by our own reader where that is not installed."""
    name, reader = FILES[kind]
    run = ngram_run(tmp_path / "run") if kind == "arpa" else folder
    out, words = tmp_path / name, ["export", str(run), "--to", kind.split()[0]]
    assert command([*words, f"out={out}"]) == 0
    assert reader in capsys.readouterr().out
    first = out.read_bytes()
    out.unlink()
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in ("kenlm", "gensim") else find(name, *more),
    )
    assert command([*words, f"out={out}"]) == 0
    assert "rootlm beside its own reader" in capsys.readouterr().out
    assert out.read_bytes() == first


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_says_something_else_is_removed(kind, folder, tmp_path, refused, monkeypatch):
    name, _ = FILES[kind]
    run, out = ngram_run(tmp_path / "run") if kind == "arpa" else folder, tmp_path / "new" / name

    def spoilt(write):
        def work(*words, **more):
            told = write(*words, **more)
            file = next(word for word in words if isinstance(word, Path))
            content = file.read_bytes()
            digits = {b"-1.": b"-4."} if kind == "arpa" else {b" 0.": b" 7.", b"\x3e": b"\x40"}
            for one, other in digits.items():
                content = content.replace(one, other)
            file.write_bytes(content)
            return told

        return work

    for writer in ("export_arpa", "write_vectors"):
        monkeypatch.setattr(classical_exported, writer, spoilt(getattr(classical_exported, writer)))
    said = refused("export", run, "--to", kind.split()[0], f"out={out}")
    assert f"{out}: the export does not say what the run says, so it was removed" in said
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("to", ["word2vec", "arpa"])
def test_no_export_writes_over_a_file(to, folder, tmp_path, refused):
    there = tmp_path / "thesis.txt"
    there.write_text("mine")
    run = ngram_run(tmp_path / "run") if to == "arpa" else folder
    assert f"{there}: exists already" in refused("export", run, f"to={to}", f"out={there}")
    assert there.read_text() == "mine"


def test_an_address_of_the_hub_that_is_none_is_one_line(tmp_path, commands):
    env = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": "nonsense", "HF_HUB_OFFLINE": "0"}
    ended = commands.run("import", "some/tiny", f"out={tmp_path / 'run'}", env=env)
    assert ended.code == 2, ended.err
    assert ended.err.strip().count("\n") == 0
    assert "some/tiny: no such folder here, and the hub does not give it" in ended.err


def test_every_family_is_held_against_transformers():
    """By the tests of parity, whose members these are."""
    members = (foreign_families, encoder_families, foreign_pairs)
    held = {module.MEMBERS[name]().config.model_type for module in members for name in module.MEMBERS}
    assert held == set(FAMILIES)
