"""From pairs to a translator through the command line, killed on its way, and what it refuses."""

import json
import random
import shutil
import signal
from xml.etree import ElementTree

import pytest
import yaml

import rootlm
from test_laws_trainer import BRAKE, recorded, same_runs

WORDS = {"打开": "open", "文件": "file", "保存": "save", "表格": "table", "选择": "choose", "单元格": "cell"}
TINY = """
tokenizer: {kind: bpe, vocab_size: 300}
model: {kind: encoder_decoder, depth: 1, hidden_size: 32, n_heads: 2, context: 96, dropout: 0.1}
objective: {kind: sequence_to_sequence, both_ways: true, guided: 0.3}
training:
  max_steps: 12
  batch_tokens: 400
  eval_steps: 4
  save_steps: 3
  logging_steps: 1
  compile: false
  precision: float32
validation: {tokens: 600}
samples: {sources: [打开文件。], steps: 6, sampling: {max_new_tokens: 8}}
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, commands):
    """A corpus of pairs, split by page."""
    folder, generator = tmp_path_factory.mktemp("pairs"), random.Random(3)
    rows = []
    for number in range(300):
        words = generator.choices(list(WORDS), k=generator.randint(5, 9))
        rows.append(
            {"zh": "".join(words) + "。", "en": " ".join(map(WORDS.get, words)) + ".", "page": number // 10}
        )
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    words = ("read.pair=[zh,en]", "split.together=page", "split.test=0.1", "split.validation=0.1")
    ended = commands.run("data", "prepare", str(file), f"out={folder / 'corpus'}", *words)
    assert ended.code == 0, ended.err
    return folder / "corpus"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, pairs):
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(f"corpus: {pairs}\n{TINY}", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory, commands, recipe):
    out = tmp_path_factory.mktemp("trained") / "run"
    ended = commands.run("train", str(recipe), f"out={out}")
    assert ended.code == 0, ended.err
    assert "打开文件。 → " in ended.out + ended.err
    return out


def test_killed_and_resumed_equals_never_stopped(commands, recipe, trained, tmp_path):
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}")
    ended = commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 8)
    assert ended.code == -signal.SIGKILL
    assert commands.run(*words).code == 0
    same_runs(trained, out)


def test_a_line_is_written_for_each_line_of_a_file(commands, trained, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("打开文件。\n\n保存表格。\n", encoding="utf-8")
    ended = commands.run("translate", str(trained), str(file), "beam=3", "max_new_tokens=6")
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 3
    assert ended.out.splitlines()[1] == ""
    single = commands.run(
        "translate", str(trained), "打开文件。", "beam=3", "max_new_tokens=6", "n=2", "json=true"
    )
    told = [json.loads(line) for line in single.out.splitlines()]
    assert [one["source"] for one in told] == ["打开文件。"] * 2
    assert told[0]["text"] == ended.out.splitlines()[0]


def test_the_picture_is_an_image_of_the_attention(commands, trained, tmp_path):
    picture = tmp_path / "attention.svg"
    ended = commands.run("translate", str(trained), "打开文件。", f"picture={picture}", "max_new_tokens=6")
    assert ended.code == 0, ended.err
    drawn = ElementTree.parse(picture).getroot()
    said = "".join(drawn.itertext())
    assert all(letter in said for letter in "打开文件。")


def test_evaluate_prints_bleu_and_chrf_of_both_directions(commands, trained):
    ended = commands.run("evaluate", str(trained), "json=true")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["directions"]
    assert [one["direction"] for one in found] == [["zh", "en"], ["en", "zh"]]
    for one in found:
        assert one["pairs"] > 5
        for figure in ("bleu", "chrf"):
            assert 0 <= one[figure]["low"] <= one[figure]["value"] <= one[figure]["high"] <= 100
    table = commands.run("evaluate", str(trained))
    assert "zh → en BLEU" in table.out
    assert "en → zh chrF" in table.out


def test_a_batch_is_shown_with_its_source(commands, recipe):
    ended = commands.run("data", "batch", str(recipe), "out=unused", "row=1")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("source: ")
    assert "→ <|endoftext|>" in ended.out


def test_the_direction_is_a_setting(commands, recipe, tmp_path):
    out = tmp_path / "run"
    words = (
        "objective.direction=[en,zh]",
        "objective.both_ways=false",
        "training.max_steps=1",
        "samples.sources=[]",
    )
    assert commands.run("train", str(recipe), f"out={out}", *words).code == 0
    found = json.loads(commands.run("evaluate", str(out), "json=true").out)["directions"]
    assert [one["direction"] for one in found] == [["en", "zh"]]
    ended = commands.run("translate", str(out), "open file.", "beam=2", "reverse_weight=0.3")
    assert ended.code == 2
    assert "has not learned the other direction (objective.both_ways=true); set reverse_weight=0" in ended.err


def test_denoising_learns_from_any_corpus_with_its_sentinels(commands, corpus, tmp_path):
    out = tmp_path / "run"
    recipe = {
        **yaml.safe_load(TINY),
        "corpus": str(corpus),
        "objective": {"kind": "denoising", "sentinels": 20},
    }
    recipe["samples"], recipe["model"]["preset"] = {}, "t5"
    recipe["training"] |= {"max_steps": 3, "batch_size": 4}
    file = tmp_path / "denoise.yaml"
    file.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    ended = commands.run("train", str(file), f"out={out}")
    assert ended.code == 0, ended.err
    resolved = yaml.safe_load((out / "recipe.yaml").read_text())
    assert resolved["objective"]["sentinel_ids"] == list(range(300, 320))
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 320
    for verb in (("generate", "max_new_tokens=4"), ("evaluate",)):
        ended = commands.run(verb[0], str(out), *verb[1:])
        assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("objective.direction=[zh,de]",),
            "holds pairs of zh and en, not of zh and de; set objective.direction=[zh,en]",
        ),
        (("model.context=8",), "pairs are longer than the model's context of 8 tokens, the longest has"),
        (("model.kind=decoder",), "cannot be asked of model.kind=decoder; set model.kind=encoder_decoder"),
        (
            ("training.carry=true",),
            "training.carry reads on from row to row, and pairs do not; set it to false",
        ),
        (
            (
                "objective.both_ways=false",
                "samples.sampling.temperature=1",
                "samples.sampling.top_p=1",
                "samples.sampling.num_beams=2",
                "samples.sampling.reverse_weight=1",
            ),
            "samples.sampling.reverse_weight asks for the way back; set it to 0, or objective.both_ways=true",
        ),
        (
            ("tokenizer.kind=unigram", "tokenizer.vocab_size=1000", "objective.subword_dropout=0.1"),
            "objective.subword_dropout takes apart what merges have joined, and this tokenizer has none; "
            "set tokenizer.kind=bpe, or objective.subword_dropout=0",
        ),
        (("objective.direction=[zh,zh]",), "direction goes from zh to itself; name source and target"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(commands, recipe, tmp_path, words, said):
    ended = commands.run("train", str(recipe), f"out={tmp_path / 'run'}", "samples.sources=[]", *words)
    assert ended.code == 2
    assert said in ended.err.splitlines()[-1]


def test_long_pairs_are_left_out_when_told_so_and_counted(commands, recipe, tmp_path):
    words = ("model.context=30", "objective.on_long=skip", "training.max_steps=1", "samples.sources=[]")
    ended = commands.run("train", str(recipe), f"out={tmp_path / 'run'}", *words)
    assert ended.code == 0, ended.err
    assert "pairs are longer than the model's context; left out" in ended.out


def test_a_corpus_of_single_texts_is_refused(commands, recipe, corpus, tmp_path):
    ended = commands.run("train", str(recipe), f"corpus={corpus}", f"out={tmp_path / 'run'}")
    assert ended.code == 2
    assert "is no pair of texts; prepare the corpus from pairs, with read.pair=[zh,en]" in ended.err


def test_an_empty_text_and_a_decoder_are_refused_by_translate(commands, trained, tmp_path):
    for text in ("", "  "):
        ended = commands.run("translate", str(trained), "--", text)
        assert ended.code == 2
        assert "the text is empty: there is nothing to translate" in ended.err
    ended = commands.run("translate", str(trained), "文" * 200)
    assert ended.code == 2
    assert "and the model reads at most 96; give it in parts" in ended.err


@pytest.fixture(scope="module")
def apart(tmp_path_factory, commands, recipe):
    """A run that reads Chinese with one tokenizer and writes English with another."""
    out = tmp_path_factory.mktemp("apart") / "run"
    ended = commands.run("train", str(recipe), f"out={out}", *APART)
    assert ended.code == 0, ended.err
    return out


APART = (
    "objective.both_ways=false",
    "source_tokenizer.kind=character",
    "tokenizer.vocab_size=280",
    "training.max_steps=6",
)


def _knows(tokenizer, letter):
    return any(tokenizer.token_text(number) == letter for number in range(tokenizer.vocab_size))


def test_each_side_may_have_a_tokenizer_of_its_own(commands, recipe, apart, tmp_path):
    run = rootlm.load(apart)
    assert run.source_tokenizer is not None
    assert _knows(run.source_tokenizer, "存") and not _knows(run.tokenizer, "存")
    sizes = run.source_tokenizer.vocab_size, run.tokenizer.vocab_size
    assert (run.model.source_embedding.weight.shape[0], run.model.embedding.weight.shape[0]) == sizes
    text = run.translate("保存文件。", max_new_tokens=6, temperature=0)
    ended = commands.run(
        "translate",
        str(apart),
        "保存文件。",
        "beam=1",
        "temperature=0",
        "max_new_tokens=6",
        f"picture={tmp_path / 'a.svg'}",
    )
    assert (ended.code, ended.out.strip()) == (0, text.strip()), ended.err
    assert all(letter in (tmp_path / "a.svg").read_text(encoding="utf-8") for letter in "保存文件。")
    told = commands.run("evaluate", str(apart), "json=true")
    assert [one["direction"] for one in json.loads(told.out)["directions"]] == [["zh", "en"]]
    shown = commands.run("data", "batch", str(recipe), f"out={tmp_path / 'none'}", *APART)
    source = next(line for line in shown.out.splitlines() if line.startswith("source: "))
    assert set("".join(WORDS)) & set(source)


def test_two_tokenizers_are_killed_resumed_and_gone_on_from(commands, recipe, apart, tmp_path):
    out = tmp_path / "run"
    words = ("train", str(recipe), f"out={out}", *APART)
    ended = commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 4)
    assert ended.code == -signal.SIGKILL
    assert commands.run(*words).code == 0
    same_runs(apart, out)
    further = commands.run("train", str(recipe), f"out={tmp_path / 'on'}", *APART, f"init_from={out}")
    assert further.code == 0, further.err
    assert (
        rootlm.load(tmp_path / "on").source_tokenizer.fingerprint
        == rootlm.load(out).source_tokenizer.fingerprint
    )


def test_two_tokenizers_that_make_no_sense_are_refused(commands, recipe, trained, apart, tmp_path):
    for words, message in [
        (("source_tokenizer.kind=character",), "needs texts that are read and never written"),
        (("model.source_vocab_size=77",), "follows from a tokenizer; set source_tokenizer instead"),
        ((*APART, "model.copies=true"), "with model.copies both sides must have the same ids"),
        ((*APART, f"init_from={trained}"), "reads both sides with one tokenizer; leave source_tokenizer out"),
        (
            (
                "source_tokenizer.kind=character",
                "objective={kind: causal}",
                "model={kind: decoder, depth: 1}",
            ),
            "needs texts that are read and never written",
        ),
    ]:
        ended = commands.run("train", str(recipe), f"out={tmp_path / 'run'}", *words)
        assert (ended.code, message in ended.err) == (2, True), ended.err
    shutil.copytree(apart, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "source_tokenizer")
    with pytest.raises(ValueError, match="source_tokenizer: is missing"):
        rootlm.load(tmp_path / "copy")
