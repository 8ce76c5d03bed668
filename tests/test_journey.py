"""One journey through the front door: raw text, a corpus, a stopped and resumed run, a score, a sentence."""

import json
import math
import signal

import pytest

from rootlm.core import records

RECIPE = """
tokenizer: {kind: bpe, vocab_size: 400}
model: {depth: 2, hidden_size: 64, n_heads: 2, context: 64}
training:
  max_steps: 80
  batch_size: 8
  eval_steps: 40
  save_steps: 20
  logging_steps: 5
  compile: false
  optimizer: {kind: muon}
samples: {prompts: [小猫], steps: 60}
"""


def sentences():
    """Two small languages that a tiny model can learn: who does what where, in Chinese and in English."""
    animals = {"小猫": "cat", "小狗": "dog", "小鸟": "bird", "老牛": "cow", "白马": "horse", "青蛙": "frog"}
    doings = {"在睡觉": "sleeps", "在吃饭": "eats", "在唱歌": "sings", "在跳舞": "dances", "在散步": "walks"}
    places = {
        "河边": "by the river",
        "山上": "on the hill",
        "树下": "under a tree",
        "田里": "in the field",
        "家里": "at home",
    }
    for (zh, en), (doing, does) in ((a, d) for a in animals.items() for d in doings.items()):
        for place, at in places.items():
            yield f"{zh}{doing}，它在{place}，看起来很高兴。"
            yield f"The {en} {does} {at}. It looks happy today."


def test_from_raw_text_to_a_sentence(commands, tmp_path):
    raw, corpus, run = tmp_path / "raw.txt", tmp_path / "corpus", tmp_path / "run"
    raw.write_text("\n".join(sentences()), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")

    def rootlm(*words):
        ended = commands.run(*map(str, words))
        assert ended.code == 0, ended.err
        return ended.out

    words = ("read.documents=line", "quality.min_characters=5", "duplicates.drop_near=false")
    rootlm("data", "prepare", raw, f"out={corpus}", *words)
    train = ("train", str(tmp_path / "recipe.yaml"), f"corpus={corpus}", f"out={run}")
    stopped = commands.start(*train, brake=0.2).kill_when(
        (run / "checkpoints" / "step-20").exists, signal.SIGTERM
    )
    assert stopped.code == 130
    assert "goes on from step" in rootlm(*train)

    log = records.read(run / "metrics.jsonl")
    scores = [record["bits_per_byte"] for record in records.of_kind(log, "validation")]
    assert len(scores) == 2
    assert scores[-1] < scores[0] < 8
    assert {record["step"] for record in records.of_kind(log, "sample")} == {60, 80}

    for data in ((), (f"data={corpus}", "split=test")):
        found = json.loads(rootlm("evaluate", run, "json=true", *data))
        bits = found["bits_per_byte"]
        assert bits["low"] <= bits["value"] <= bits["high"]
        # The validation split is another draw of the same two languages.
        assert bits["value"] == pytest.approx(scores[-1], rel=0.25)
        assert math.isfinite(found["perplexity"]["value"])

    text = rootlm("generate", run, "小猫", "temperature=0", "max_new_tokens=40").strip()
    assert text.startswith("小猫")
    assert "。" in text
    first, again = (rootlm("generate", run, "The cat", "n=2", "seed=3", "json=true") for _ in range(2))
    assert first == again
    assert [json.loads(line)["prompt"] for line in first.splitlines()] == ["The cat", "The cat"]

    import rootlm as package

    opened = package.load(run, device="cpu")
    assert opened.generate("小猫", temperature=0.0, max_new_tokens=5) in text
    assert "finished, 80 of 80 steps" in rootlm(*train)
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "小猫" in report
