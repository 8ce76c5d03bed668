"""What a published model reads before a prompt is what its own library gives it, wherever it goes."""

import json

import pytest
import torch
import transformers

import rootlm
from published_folders import edit, gpt2_folder, llama_folder
from rootlm.cli.main import run as command
from rootlm.evaluation.harness import Respondent

PROMPTS = ("The sea is", "床前明月光", "def add(")


def silent_folder(folder, *, settings=True):
    """A tokenizer that says nothing of what stands before a text, as some do."""
    gpt2_folder(folder)
    edit(folder / "tokenizer.json", post_processor=None)
    if not settings:
        (folder / "tokenizer_config.json").unlink()


def bare_folder(folder):
    silent_folder(folder, settings=False)


BEGINS = {"gpt2": gpt2_folder, "llama": llama_folder, "silent": silent_folder, "bare": bare_folder}


@pytest.fixture(params=BEGINS)
def folder(request, tmp_path):
    BEGINS[request.param](tmp_path / "tiny")
    return tmp_path / "tiny"


def said_by_transformers(folder, prompt):
    names = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    asked = names(prompt, return_tensors="pt")
    with torch.no_grad():
        whole = model.generate(**asked, max_new_tokens=12, do_sample=False, pad_token_id=0)[0]
    return whole[asked.input_ids.shape[1] :].tolist()


def said_by_us(place, prompt):
    run = rootlm.load(place, precision="float32")
    ((one,),) = run.generations(prompt, max_new_tokens=12, temperature=0)
    return [*one.tokens]


def without_end(ids, run):
    return [number for number in ids if number != run.tokenizer.eos_id]


def test_greedy_texts_are_those_of_transformers_wherever_a_model_goes(folder, tmp_path, capsys):
    run, out, gguf = tmp_path / "run", tmp_path / "out", tmp_path / "gguf"
    assert command(["import", str(folder), f"out={run}"]) == 0
    assert command(["export", str(run), "--to", "hf", f"out={out}"]) == 0
    opened = rootlm.load(folder)
    for prompt in PROMPTS:
        expected = without_end(said_by_transformers(folder, prompt), opened)
        for place in (folder, run, out):
            assert without_end(said_by_us(place, prompt), opened) == expected, (place, prompt)
        assert without_end(said_by_transformers(out, prompt), opened) == expected
    capsys.readouterr()
    assert command(["export", str(run), "--to", "gguf", "type=f32", f"out={gguf}"]) == 0, capsys.readouterr()
    assert "greedy continuations are the same" in capsys.readouterr().out
    assert rootlm.load(gguf / "gguf-F32.gguf").tokenizer.begins == opened.tokenizer.begins


def test_what_is_trained_here_is_asked_as_it_was_trained(folder, corpus, commands, tmp_path):
    recipe, run, out = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "out"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {folder}\nvalidation: {{tokens: 200}}\n"
        "training: {max_steps: 2, batch_size: 2, window: 32, precision: float32, compile: false}\n"
    )
    ended = commands.run("train", str(recipe), f"out={run}")
    assert ended.code == 0, ended.err
    assert commands.run("export", str(run), "to=hf", f"out={out}").code == 0
    learned = rootlm.load(run)
    assert learned.tokenizer.begins == [learned.tokenizer.bos_id]
    names = transformers.AutoTokenizer.from_pretrained(out)
    for prompt in PROMPTS:
        ids = [learned.tokenizer.bos_id, *learned.tokenizer.encode(prompt)]
        assert names(prompt).input_ids == learned.tokenizer.prompt(prompt) == ids
        expected = without_end(said_by_us(run, prompt), learned)
        assert without_end(said_by_transformers(out, prompt), learned) == expected
    spec = json.loads((out / "tokenizer.json").read_text())
    assert "TemplateProcessing" in json.dumps(spec["post_processor"])


def test_a_conversation_is_answered_as_by_transformers(tmp_path, capsys):
    folder, said = tmp_path / "tiny", "To be, or not to be?"
    llama_folder(folder)
    turns = [{"role": "system", "content": "Rule."}, {"role": "user", "content": said}]
    names = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    asked = names.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        whole = model.generate(**asked, max_new_tokens=12, do_sample=False, pad_token_id=0)[0]
    expected = names.decode(whole[asked["input_ids"].shape[1] :], skip_special_tokens=True)
    run = rootlm.load(folder, precision="float32")
    assert run.chat(turns, max_new_tokens=12, temperature=0) == expected
    words = ["generate", str(folder), said, "chat=true", "system=Rule.", "precision=float32"]
    words += ["max_new_tokens=12", "temperature=0"]
    assert command(words) == 0
    assert capsys.readouterr().out == expected + "\n"
    assert command([*words, "json=true"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["prompt"] == names.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    for more, told in (("next=3", "leave out one"), ("chat=false", "add chat=true")):
        assert command([*words, more]) == 2
        assert told in capsys.readouterr().err
    (folder / "chat_template.jinja").unlink()
    assert command(words) == 2
    assert "has no chat template" in capsys.readouterr().err


def test_the_harness_reads_before_a_context_what_transformers_reads(folder):
    context, continuation = "The sea is", " wide and the ships"
    names = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    before, whole = (names(text, return_tensors="pt").input_ids for text in (context, context + continuation))
    with torch.no_grad():
        said = model(whole).logits[0].log_softmax(-1)[:-1].gather(1, whole[0, 1:, None])[:, 0]
    run = rootlm.load(folder, precision="float32")
    ((found, _),) = Respondent(run.model, run.tokenizer).continuations([(context, continuation)])
    assert found == pytest.approx(float(said[before.shape[1] - 1 :].sum()), abs=1e-3)
