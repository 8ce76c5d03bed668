"""Adapters through the doors: learned on a folder, let out to PEFT and taken back, merged for every other library."""

import json
import shutil
import sys

import pytest
import torch
import transformers
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model

import rootlm
from published_folders import edit, llama_folder, tokenizer
from rootlm.cli.main import run as command
from rootlm.layers.adapters import adapter_tensors
from rootlm.layers.low_rank import LoraConfig
from rootlm.models.adaptation import Adaptation, base_of
from rootlm.models.adapted import begin_adapter
from rootlm.models.catalog import load_model, save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign.llama_cpp import llama_cpp
from rootlm.runs.verified import verify
from test_export_gguf import greedy, said
from toys import byte_tokenizer

TOKENS = torch.tensor([[0, 9, 77, 200, 31, 8, 150, 300]])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "llama"
    llama_folder(folder)
    return folder


@pytest.fixture(scope="module")
def run(base, corpus, commands, tmp_path_factory):
    """A run that has learned adapters on a Llama, moved far enough to be seen."""
    folder = tmp_path_factory.mktemp("adapted")
    recipe = folder / "lora.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {base}\nout: {folder / 'run'}\n"
        "adapter: {kind: lora, rank: 4, targets: [attention.q, attention.v, feedforward.down]}\n"
        "training: {max_steps: 6, batch_size: 4, window: 48, precision: float32, compile: false, "
        "optimizer: {kind: adamw, learning_rate: 0.05}}\nvalidation: {tokens: 200}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 0, ended.err
    return folder / "run"


def outside(base, adapters=None):
    """Return the logits of the foreign libraries."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    if adapters is not None:
        model = PeftModel.from_pretrained(model, str(adapters)).eval()
    with torch.no_grad():
        return model(TOKENS).logits


def inside(run):
    with torch.no_grad():
        return load_model(run)(TOKENS).values


def test_adapters_say_the_same_in_peft_and_come_back(run, base, tmp_path, capsys):
    out, back = tmp_path / "peft", tmp_path / "back"
    code, text = said(capsys, "export", run, "--to", "peft", f"out={out}")
    assert code == 0, text
    assert "beside PEFT" in text
    found = outside(base, out)
    assert (found - outside(base)).abs().max() > 0.1
    assert found.std() > 1
    torch.testing.assert_close(inside(run), found, rtol=0, atol=1e-4)
    assert text.strip().splitlines()[-1].partition(": ")[2] in (out / "README.md").read_text()
    code, text = said(capsys, "import", out, f"out={back}")
    assert code == 0, text
    assert "adapters of rank 4" in text
    assert greedy(back, "The sea", 10)[1] == greedy(run, "The sea", 10)[1]
    assert rootlm.load(back).tokenizer.chat_templates == rootlm.load(base).tokenizer.chat_templates
    assert said(capsys, "verify", run, out)[0] == 0
    assert said(capsys, "verify", base, out)[0] == 2


def test_what_peft_has_learned_becomes_a_run(base, tmp_path, capsys):
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(0)
    theirs = get_peft_model(
        model, PeftConfig(r=3, target_modules=["k_proj", "gate_proj"], task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    theirs.save_pretrained(tmp_path / "theirs")
    code, text = said(capsys, "import", tmp_path / "theirs", f"out={tmp_path / 'run'}", f"base={base}")
    assert code == 0, text
    with torch.no_grad():
        expected = theirs.eval()(TOKENS).logits
    torch.testing.assert_close(inside(tmp_path / "run"), expected, rtol=0, atol=1e-4)
    # As a base it is what it says, so that a run can learn on from it.
    assert adapter_tensors(load_model(tmp_path / "run"))


def test_other_libraries_get_the_adapters_within_the_weights(run, tmp_path, capsys):
    hf, gguf, own = (tmp_path / name for name in ("hf", "gguf", "own"))
    for words in (
        ("--to", "hf", f"out={hf}"),
        ("--to", "gguf", "type=f32", f"out={gguf}"),
        ("--to", "run", f"out={own}"),
    ):
        code, text = said(capsys, "export", run, *words)
        assert code == 0, text
        assert "its adapters are merged into the weights" in text
    torch.testing.assert_close(outside(hf), inside(run), rtol=0, atol=1e-4)
    assert json.loads((own / "config.json").read_text()).get("adaptation") is None
    assert verify(run, own).agrees
    opened, expected = greedy(run, "The sea", 10)
    with llama_cpp(gguf / "gguf-F32.gguf") as other:
        assert other.greedy([opened.tokenizer.bos_id, *opened.tokenizer.encode("The sea")], 10) == expected


def test_merged_in_a_smaller_type_is_compared_with_what_it_is_then(base, run, tmp_path, capsys):
    """Adapters on weights of eight bits of precision are rounded when merged: the gate looks at the rest."""
    code, text = said(capsys, "export", run, "--to", "hf", "dtype=bfloat16", f"out={tmp_path / 'hf'}")
    assert code == 0, text
    moved = float(text.partition("moves logits by ")[2].split()[0])
    assert 1e-3 < moved < 5


def test_a_run_with_adapters_speaks_and_is_scored(run, base, corpus, commands):
    spoken = commands.run(
        "generate", str(run), "The sea", "max_new_tokens=8", "temperature=0", "precision=float32"
    )
    assert spoken.code == 0, spoken.err
    assert spoken.out.startswith("The sea")
    scored = [
        commands.run("evaluate", str(one), f"data={corpus}", "precision=float32") for one in (run, base)
    ]
    assert [one.code for one in scored] == [0, 0], scored
    learned, before = (float(one.out.partition("bits per byte")[2].split()[0]) for one in scored)
    assert learned < before


def test_without_peft_our_own_reader_looks(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    code, text = said(capsys, "export", run, "--to", "peft", f"out={tmp_path / 'peft'}")
    assert code == 0, text
    assert "rootlm beside rootlm" in text
    code, text = said(capsys, "verify", run, tmp_path / "peft")
    assert code == 2
    assert "which is not installed or not wanted" in text


@pytest.fixture(scope="module")
def places(run, base, tmp_path_factory):
    """A folder of PEFT's, one whose base is gone, one that names none, a run of our own, and adapters on that."""
    room = tmp_path_factory.mktemp("wrong")
    assert command(["export", str(run), "--to", "peft", f"out={room / 'peft'}"]) == 0
    for name, named in (("lost", "no/where/at-all"), ("nameless", None)):
        shutil.copytree(room / "peft", room / name)
        edit(room / name / "adapter_config.json", base_model_name_or_path=named)
    tokenizer = byte_tokenizer()
    save_model(DecoderConfig(depth=1, hidden_size=32).build(tokenizer.vocab_size), room / "own")
    tokenizer.save(room / "own")
    llama_folder(room / "other", initializer_range=0.3)
    return {"run": run, "base": base, **{path.name: path for path in room.iterdir()}}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["export", "{base}", "--to", "peft", "out=x"], "holds no adapter; rootlm train … init_from=BASE"),
        (["export", "{base}", "--to", "run", "out=x"], "holds no adapter; there is nothing to merge"),
        (["export", "{run}", "--to", "peft", "out=x", "base=./no/where"], "base ./no/where: no such folder"),
        (
            ["export", "{run}", "--to", "peft", "out=x", "base={other}"],
            "the export does not say what the run says",
        ),
        (
            ["import", "{lost}", "out=x"],
            "base no/where/at-all: no such folder; give a path, or a name of the hub",
        ),
        (["import", "{nameless}", "out=x"], "names no base; set base=FOLDER"),
        (
            ["import", "{peft}", "out=x", "base={own}"],
            "name the base it was made for",
        ),
        (["generate", "{peft}"], "holds adapters of PEFT's alone; rootlm import"),
        (["verify", "{run}", "{peft}", "reader=rootlm"], "which is not installed or not wanted"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(words, expected, places, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = said(capsys, *(word.format(**places) for word in words))
    assert code == 2, text
    assert expected in text
    assert not (tmp_path / "x").exists()


def test_adapters_on_a_run_of_our_own_need_a_base_that_peft_opens(places, tmp_path, capsys):
    own, run, hf = places["own"], tmp_path / "run", tmp_path / "own-hf"
    model = load_model(own)
    begin_adapter(model, Adaptation(settings=LoraConfig(rank=2), base=base_of(own)))
    with torch.no_grad():
        for tensor in adapter_tensors(model).values():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    save_model(model, run)
    byte_tokenizer().save(run)
    code, text = said(capsys, "export", run, "--to", "peft", f"out={tmp_path / 'x'}")
    assert code == 2
    assert "its base" in text
    assert "--to hf out=own-hf, then base=own-hf" in text
    assert said(capsys, "export", own, "--to", "hf", f"out={hf}")[0] == 0
    code, text = said(capsys, "export", run, "--to", "peft", f"out={tmp_path / 'x'}", f"base={hf}")
    assert code == 0, text


def test_training_does_not_begin_from_adapters_alone(places, corpus, commands, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {places['peft']}\nout: {tmp_path / 'begun'}\ntraining: {{max_steps: 1}}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 2
    assert "holds adapters of PEFT's alone; rootlm import" in ended.err


def test_what_peft_does_not_take_is_refused_in_its_words_and_names_the_place(tmp_path, capsys):
    """Experts with lengths of rows apart: PEFT puts no DoRA on them."""
    source, run = tmp_path / "mixtral", tmp_path / "run"
    shape = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {
        "num_key_value_heads": 2,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "sliding_window": None,
    }
    words = tokenizer()
    config = transformers.MixtralConfig(vocab_size=len(words), max_position_embeddings=64, **shape, **more)
    transformers.MixtralForCausalLM(config).save_pretrained(source)
    words.save_pretrained(source)
    model = load_model(source)
    begin_adapter(model, Adaptation(settings=LoraConfig(rank=2, decomposed=True), base=base_of(source)))
    save_model(model, run)
    words.save_pretrained(run)
    code, text = said(capsys, "export", run, "--to", "peft", f"out={tmp_path / 'x'}")
    assert code == 2
    assert f"{tmp_path / 'x'}: PEFT cannot open it: " in text
    assert not (tmp_path / "x").exists()
