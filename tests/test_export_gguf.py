"""Runs leave as GGUF files that llama.cpp has opened: the same ids, the same continuation; else nothing is left."""

import json
import sys

import pytest
import torch
import transformers

import rootlm
from published_folders import TEMPLATE, TEXTS, llama_folder, tokenizer
from rootlm.cli.main import run as command
from rootlm.core.config import Override
from rootlm.layers.attention import AttentionConfig
from rootlm.layers.positions import AlibiConfig
from rootlm.models.catalog import load_model, save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign.gguf_reading import GgufFile
from rootlm.models.foreign.llama_cpp import llama_cpp
from rootlm.models.recurrent import RecurrentConfig
from rootlm.runs.gguf_verified import compare_continuations
from rootlm.runs.llama_cpp_side import llama_cpp_side
from rootlm.runs.parity_texts import TURNS
from rootlm.runs.recipe import read_recipe, shipped_recipes
from rootlm.runs.sides import OwnSide
from rootlm.tokenizers.byte_pieces import BytePairs
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import train


def said(capsys, *words):
    """Run a command; returns its exit code and what it said, in one line where it failed."""
    capsys.readouterr()
    code = command([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0 or err.strip().count("\n") == 0, err
    return code, out + err


@torch.no_grad()
def own_run(folder, *, cut="qwen2", **settings):
    """Write a run of a tiny decoder whose logits a mistake would show in."""
    words = train(BytePairs(vocab_size=320, cut=cut), TEXTS * 3)
    torch.manual_seed(0)
    shape = {"depth": 2, "hidden_size": 64, "n_heads": 2, "context": 96, **settings}
    model = DecoderConfig(**shape).build(words.vocab_size)
    for parameter in model.parameters():
        width = 0.3 if parameter.ndim == 1 else 0.4 if 320 in parameter.shape else parameter.shape[-1] ** -0.5
        parameter.add_(torch.randn(parameter.shape) * width)
    save_model(model, folder)
    words.save(folder)
    return folder


def greedy(run, prompt, count):
    """Return the ids of a prompt, and what our own decoding makes of it."""
    opened = rootlm.load(run, precision="float32")
    ((one,),) = opened.generations(prompt, temperature=0, max_new_tokens=count)
    return opened, list(one.tokens)


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_a_run_of_ours_goes_on_in_llama_cpp_as_here(kind, tmp_path, capsys):
    run, out = own_run(tmp_path / "run"), tmp_path / "tiny"
    code, text = said(capsys, "export", run, "--to", "gguf", f"type={kind}", f"out={out}")
    assert code == 0, text
    assert "ids of 100 texts are the same" in text
    assert "8 of 8 greedy continuations are the same" in text
    file = out / f"tiny-{kind.upper()}.gguf"
    card = (out / "README.md").read_text()
    assert text.strip().splitlines()[-1].partition(": ")[2] in card
    assert "FROM ./" + file.name in (out / "Modelfile").read_text()
    opened, expected = greedy(run, "床前 The sea is", 14)
    with llama_cpp(file) as other:
        ids = other.ids("床前 The sea is", marks=True)
        assert ids == [opened.tokenizer.bos_id, *opened.tokenizer.encode("床前 The sea is")]
        assert other.greedy(ids, 14) == expected
    assert said(capsys, "verify", run, file)[0] == 0
    code, text = said(capsys, "export", file, "--to", "hf", f"out={tmp_path / 'hf'}")
    assert code == 0, text
    assert json.loads((tmp_path / "hf" / "generation_config.json").read_text())["eos_token_id"] == 0
    assert said(capsys, "import", file, f"out={tmp_path / 'back'}")[0] == 0
    assert greedy(tmp_path / "back", "床前 The sea is", 14)[1] == expected


def test_a_folder_of_gpt_2_becomes_a_run_and_leaves_for_transformers_and_llama_cpp(tmp_path, capsys):
    source, run, back, out = (tmp_path / name for name in ("gpt2", "run", "back", "gguf"))
    names = tokenizer()
    torch.manual_seed(0)
    shape = {"n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 128, "initializer_range": 0.4}
    ids = {"bos_token_id": names.bos_token_id, "eos_token_id": names.eos_token_id}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=len(names), **shape, **ids)
    ).eval()
    model.save_pretrained(source)
    names.save_pretrained(source)
    prompt = torch.tensor([names("The sea is")["input_ids"]])
    written = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12
    )
    expected = written[0, prompt.shape[1] :].tolist()
    assert said(capsys, "import", source, f"out={run}")[0] == 0
    assert greedy(run, "The sea is", 12)[1] == expected
    code, text = said(capsys, "export", run, "--to", "hf", f"out={back}")
    assert code == 0, text
    again = transformers.AutoModelForCausalLM.from_pretrained(back, dtype=torch.float32).eval()
    assert torch.equal(again(prompt).logits, model(prompt).logits)
    code, text = said(capsys, "export", run, "--to", "gguf", "type=f32", f"out={out}")
    assert code == 0, text
    with llama_cpp(out / "gguf-F32.gguf") as other:
        assert other.ids("The sea is", marks=True) == prompt[0].tolist()
        assert other.greedy(prompt[0].tolist(), 12) == expected


def test_turns_stops_and_settings_come_along(tmp_path, capsys):
    source, out = tmp_path / "llama", tmp_path / "out"
    llama_folder(source)
    code, text = said(capsys, "export", source, "--to", "gguf", "type=bf16", f"out={out}")
    assert code == 0, text
    assert "ids of 104 texts are the same" in text
    settings = GgufFile(out / "out-BF16.gguf").settings
    assert settings["tokenizer.chat_template"] == TEMPLATE
    assert settings["general.name"] == "out"
    modelfile = (out / "Modelfile").read_text()
    for line in ('PARAMETER stop "<|end|>"', "PARAMETER temperature 0.6", "<|user|>\n{{ .Content }}<|end|>"):
        assert line in modelfile
    words = Tokenizer.load(source)
    with llama_cpp(out / "out-BF16.gguf") as other:
        for turns in TURNS:
            shown = words.render(turns, add_generation_prompt=True).text
            assert other.conversation(turns) == shown.removeprefix("<|begin|>")
            assert other.ids(shown, special=True) == words.encode_marked(shown)


def test_what_a_type_loses_is_told_and_too_much_is_not_let_out(tmp_path, capsys):
    run = own_run(tmp_path / "run")
    code, text = said(capsys, "export", run, "--to", "gguf", "type=q8_0", f"out={tmp_path / 'eight'}")
    assert code == 0, text
    assert "the type Q8_0 costs" in text
    assert "nats per token, 0.01 are allowed" in (tmp_path / "eight" / "README.md").read_text()
    code, text = said(capsys, "export", run, "--to", "gguf", "type=q4_0", f"out={tmp_path / 'four'}")
    assert code == 2
    assert "so it was removed: rounding to Q4_0 costs" in text
    assert "write a wider type" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eight", "run"]


def test_our_own_way_of_cutting_is_refused_with_the_remedy(tmp_path, capsys):
    run, out = own_run(tmp_path / "run", cut="rootlm"), tmp_path / "out"
    code, text = said(capsys, "export", run, "--to", "gguf", f"out={out}")
    assert code == 2
    assert "train the tokenizer with tokenizer.cut=qwen2" in text
    assert not out.exists()
    code, text = said(capsys, "export", run, "--to", "gguf", "out=model.gguf")
    assert "a folder is written, with the file and a Modelfile; set out=model-gguf" in text
    for config, expected in (
        (RecurrentConfig(hidden_size=16), "Hugging Face has no such network; rootlm export --help"),
        (DecoderConfig(depth=1, position=AlibiConfig()), "qwen3, the nearest, lacks position.kind=alibi"),
        (
            DecoderConfig(depth=1, preset="llama", attention=AttentionConfig(window=9)),
            "sliding_window=9 has no equal in llama.cpp's llama",
        ),
    ):
        save_model(config.build(320), run)
        code, text = said(capsys, "export", run, "--to", "gguf", f"out={out}")
        assert code == 2
        assert expected in text
        assert not out.exists()


def test_a_window_needs_no_place_in_a_file_for_texts_that_fit_into_it(tmp_path, capsys):
    run, out = (
        own_run(tmp_path / "run", attention=AttentionConfig(window=48), preset="llama"),
        tmp_path / "out",
    )
    code, text = said(capsys, "export", run, "--to", "gguf", "type=f32", f"out={out}")
    assert code == 2
    assert "sliding_window=48 has no equal in llama.cpp's llama; context=48 writes it for texts up to" in text
    code, text = said(capsys, "export", run, "--to", "gguf", "type=f32", f"out={out}", "context=48")
    assert code == 0, text
    assert "PARAMETER num_ctx 48" in (out / "Modelfile").read_text()
    assert rootlm.load(out / "out-F32.gguf").model.context == 48
    code, text = said(capsys, "export", run, "--to", "gguf", f"out={tmp_path / 'more'}", "context=97")
    assert "context=97: expected 1 to 96" in text


def test_the_recipe_that_goes_everywhere_fits_llama_cpp():
    assert "portable" in shipped_recipes()
    words = [Override("corpus", "c"), Override("out", "o")]
    recipe = read_recipe("portable", words)
    assert recipe.tokenizer.cut == "qwen2"
    # Rows of whole blocks, or a matrix would stay in a wider type than was asked for.
    assert recipe.model.resolved().hidden_size % 32 == 0


def test_verify_finds_weights_that_llama_cpp_has_otherwise(tmp_path, capsys):
    run, out = own_run(tmp_path / "run"), tmp_path / "out"
    assert said(capsys, "export", run, "--to", "gguf", "type=f32", f"out={out}")[0] == 0
    model = load_model(run)
    with torch.no_grad():
        model.blocks[1].feedforward.down.weight[3, 5] += 0.5
    save_model(model, run)
    code, text = said(capsys, "verify", run, out / "out-F32.gguf")
    assert code == 2
    assert "ids of 100 texts are the same; logits differ by" in text
    other = DecoderConfig(depth=2, hidden_size=64, n_heads=2, context=96).build(320)
    save_model(other, run)
    with llama_cpp_side(out / "out-F32.gguf") as side:
        found = compare_continuations(OwnSide(run), side)
    assert found.alike < found.texts
    assert found.widest > 0.01


def test_without_llama_cpp_our_own_reader_looks(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    run, out = own_run(tmp_path / "run"), tmp_path / "out"
    code, text = said(capsys, "export", run, "--to", "gguf", "type=f16", f"out={out}")
    assert code == 0, text
    assert "rootlm beside rootlm" in text
    assert "The library was not installed where it was written" in (out / "README.md").read_text()
    spec = json.loads((run / "tokenizer.json").read_text())
    assert spec["post_processor"] is None
    assert GgufFile(out / "out-F16.gguf").settings["tokenizer.ggml.add_bos_token"] is True
