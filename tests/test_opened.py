"""An opened run speaks, scores and evaluates, from Python and the command line; broken folders say so."""

import json
import math

import pytest
import torch

import rootlm
from rootlm.cli.main import run as command
from rootlm.core.config import to_yaml
from rootlm.generation.sampling import Sampling, to_generation_config
from rootlm.models.catalog import save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.runs.recipe import Recipe
from toys import byte_tokenizer

SMALL = DecoderConfig(depth=1, hidden_size=32, n_heads=2, context=48)
OWN = Sampling(temperature=0.7, max_new_tokens=12, seed=3)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    tokenizer = byte_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_model(SMALL.build(tokenizer.vocab_size), folder)
    tokenizer.save(folder)
    (folder / "generation_config.json").write_text(json.dumps(to_generation_config(OWN)))
    (folder / "recipe.yaml").write_text(to_yaml(Recipe(corpus="corpora/none")))
    return folder


@pytest.fixture
def folder(original, tmp_path):
    for file in original.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def opened(original):
    return rootlm.load(original, precision="float32")


@pytest.fixture(scope="module")
def poems(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "poems.txt"
    file.write_text("床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n" * 3, encoding="utf-8")
    return file


def test_a_run_speaks_by_its_own_settings_unless_told(opened):
    text = opened.generate("床前", seed=5)
    assert isinstance(text, str)
    assert text == opened.generate("床前", seed=5)
    assert opened.generate(["床前", "a"], seed=5) == [text, opened.generate("a", seed=5)]
    assert opened.generate("床前", seed=5, n=2)[0] == text
    assert len(opened.generate(["a", "b"], n=3)[1]) == 3
    assert "".join(opened.stream("床前", seed=5)) == text
    ((full,),) = opened.generations("床前", seed=5)
    assert (full.text, len(full.tokens), full.finish_reason) == (text, 12, "length")
    assert opened.sampling.temperature == 0.7
    with pytest.raises(ValueError, match="did you mean temperature"):
        opened.generate("a", temprature=1)


def test_the_recipe_comes_along(opened):
    assert opened.settings["corpus"] == "corpora/none"


def test_what_was_generated_scores_what_it_said(opened):
    ((full,),) = opened.generations("To be", temperature=0, max_new_tokens=10)
    ids = [*opened.tokenizer.encode("To be"), *full.tokens]
    (scored,) = opened.score([opened.tokenizer.decode(ids)])
    if list(scored.ids[:-1]) == ids:
        assert (-scored.nats[5:-1]).tolist() == pytest.approx(full.logprobs, abs=1e-4)
        assert scored.ranks[5:-1].tolist() == [0] * 10


def test_a_greedy_text_ranks_first(opened):
    ids = [opened.tokenizer.bos_id, *opened.tokenizer.encode("ab")]
    for _ in range(5):
        ids.append(int(opened.model(torch.tensor([ids])).values[0, -1].argmax()))
    ((full,),) = opened.generations("ab", temperature=0, max_new_tokens=5)
    assert list(full.tokens) == ids[3:]


def test_evaluating_a_path_equals_evaluating_its_documents(opened, poems):
    from_path = opened.evaluate(poems)
    text = poems.read_text(encoding="utf-8").removesuffix("\n")
    from_text = opened.evaluate([text])
    assert from_path.bits_per_byte() == from_text.bits_per_byte()
    assert from_path.bytes.sum() == len(text.encode())


def test_next_words(opened):
    words = opened.next_words("我爱中", k=5)
    assert len(words) == 5
    assert words[0].probability >= words[4].probability > 0
    for word in opened.next_words("我爱中", k=60):
        ids = [opened.tokenizer.bos_id, *opened.tokenizer.encode("我爱中")]
        share = 1.0
        for token in word.tokens:
            share *= float(opened.model(torch.tensor([ids])).values[0, -1].softmax(-1)[token])
            ids.append(token)
        assert word.probability == pytest.approx(share, rel=1e-3)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: missing"):
        rootlm.load(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "recipe.yaml"]
)
def test_a_torn_file_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2] + b'\n\t"{[')
    with pytest.raises(ValueError, match=name):
        rootlm.load(folder)


def test_a_foreign_tokenizer_is_refused(folder):
    data = json.loads((folder / "tokenizer.json").read_text())
    data["model"]["vocab"]["new"] = 257
    (folder / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"258 tokens, config\.json 257"):
        rootlm.load(folder)


def test_no_folder_is_an_error():
    with pytest.raises(ValueError, match="no such folder"):
        rootlm.load("runs/none")


def test_generate_prints_prompt_and_text(original, opened, capsys):
    assert command(["generate", str(original), "床前", "seed=5", "precision=float32"]) == 0
    assert capsys.readouterr().out == "床前" + opened.generate("床前", seed=5) + "\n"


def test_generate_prints_several(original, capsys):
    assert command(["generate", str(original), "a", "n=2", "seed=5"]) == 0
    out = capsys.readouterr().out
    assert "── 1 of 2 · seed 5" in out
    assert "── 2 of 2 · seed 6" in out


def test_generate_as_json(original, opened, capsys):
    words = ["generate", str(original), "a", "n=2", "--json", "seed=5", "precision=float32"]
    assert command(words) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line, full in zip(lines, opened.generations("a", n=2, seed=5)[0], strict=True):
        assert line["text"] == full.text
        assert line["tokens"] == list(full.tokens)
        assert line["logprobs"] == pytest.approx(full.logprobs)
        assert (line["prompt"], line["finish_reason"], line["seed"]) == ("a", full.finish_reason, full.seed)


def test_generate_says_when_the_context_is_full(original, capsys):
    assert command(["generate", str(original), "a", "max_new_tokens=100", "temperature=0"]) == 0
    assert "context of 48 tokens is full" in capsys.readouterr().err
    assert (
        command(["generate", str(original), "a", "max_new_tokens=100", "temperature=0", "on_full=slide"]) == 0
    )
    assert capsys.readouterr().err == ""


def test_generate_shows_next_words(original, opened, capsys):
    assert command(["generate", str(original), "我爱中", "--next", "4", "precision=float32"]) == 0
    out = capsys.readouterr().out
    assert f"{opened.next_words('我爱中', 4)[0].probability:.1%}" in out
    assert command(["generate", str(original), "我爱中", "--next", "4", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generate", "RUN", "a", "temprature=1"], "did you mean temperature?"),
        (["generate", "RUN", "a", "jsn=true"], "did you mean json"),
        (["generate", "RUN", "a", "top_p=2"], "top_p is 2"),
        (
            ["generate", "RUN", "a" * 60],
            "61 tokens, the begin token included, and the model reads at most 48",
        ),
        (["generate", "nowhere", "a"], "no such folder"),
        (["score", "RUN", "poem.txt"], "poem.txt: no such file"),
        (["evaluate", "RUN", "--data", "poem.txt"], "no such file"),
        (["evaluate", "RUN"], "corpora/none"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(original, capsys, words, part):
    words = [str(original) if word == "RUN" else word for word in words]
    assert command(words) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_score_per_line_and_per_token_agree(original, opened, poems, capsys):
    assert command(["score", str(original), str(poems)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 6
    assert lines[1]["source"].endswith("poems.txt:2")
    (scored,) = opened.score(lines[0]["text"])
    assert lines[0]["logprob"] == pytest.approx(-scored.nats.sum(), rel=1e-5)
    assert lines[0]["bits_per_byte"] == pytest.approx(
        scored.nats.sum() / math.log(2) / len(lines[0]["text"].encode()), rel=1e-5
    )
    assert command(["score", str(original), lines[0]["text"].strip(), "per=token"]) == 0
    tokens = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [token["place"] for token in tokens] == list(range(len(tokens)))
    assert tokens[-1]["token"] == "<|endoftext|>"
    (scored,) = opened.score(lines[0]["text"].strip())
    assert sum(token["logprob"] for token in tokens) == pytest.approx(-scored.nats.sum(), rel=1e-5)


def test_evaluate_prints_a_table_and_saves_when_asked(folder, opened, poems, capsys):
    assert command(["evaluate", str(folder), "--data", str(poems), "read.documents=line"]) == 0
    out = capsys.readouterr().out
    assert "bits per byte" in out
    assert "6 documents" in out
    assert not (folder / "evaluation.json").exists()
    words = ["evaluate", str(folder), "--data", str(poems), "read.documents=line", "--json", "save=true"]
    assert command(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((folder / "evaluation.json").read_text()) == printed
    found = opened.evaluate(poems)
    assert printed["bytes"] <= found.bytes.sum()
    assert printed["bits_per_byte"]["low"] <= printed["bits_per_byte"]["value"]


def test_a_run_lets_another_guess_ahead(opened, original, folder, capsys):
    plain = opened.generate("床前", temperature=0)
    ahead = {"speculate.kind": "draft", "speculate.model": str(original), "temperature": 0}
    assert opened.generate("床前", **ahead) == plain
    assert opened.generations("床前", **ahead)[0][0].held > 0
    words = ["generate", str(original), "床前", "precision=float32", "temperature=0"]
    assert command([*words, "speculate.kind=lookup", "speculate.ngram=1"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"床前{plain}\n"
    assert "tokens for each reading" in shown.err
    byte_tokenizer(merge=("a", "b")).save(folder)
    save_model(SMALL.build(byte_tokenizer(merge=("a", "b")).vocab_size), folder)
    with pytest.raises(ValueError, match="has another tokenizer than"):
        opened.generate("床前", **{**ahead, "speculate.model": str(folder)})


def test_a_draft_is_not_opened_in_training():
    with pytest.raises(ValueError, match="no other model is opened in training"):
        Recipe(
            corpus="corpora/none",
            samples={"sampling": {"speculate": {"kind": "draft", "model": "runs/small"}}},
        )


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_fewer_bits_say_what_they_cost(original, opened, poems, capsys, bits):
    run = rootlm.load(original, precision="float32", weights=bits)
    assert run.quantised is not None and run.quantised.after < run.quantised.before / 3
    cost = run.evaluate(poems).bits_per_byte().value - opened.evaluate(poems).bits_per_byte().value
    assert command(["evaluate", str(original), "--data", str(poems), f"weights={bits}", "json=true"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weights"] == bits and cost != 0
    assert told[f"lost_to_{bits}_bits_per_byte"]["value"] == pytest.approx(cost)
    assert command(["evaluate", str(original), "--data", str(poems), f"weights={bits}"]) == 0
    shown = capsys.readouterr().out
    assert f"lost to {bits} bits per byte" in shown and f"{cost:+.5f}" in shown and f"weights {bits}" in shown


def test_fewer_bits_write_from_the_command_line(original, capsys):
    words = ["generate", str(original), "床前", "seed=5", "precision=float32", "weights=int8"]
    assert command(words) == 0
    text = rootlm.load(original, precision="float32", weights="int8").generate("床前", seed=5)
    assert capsys.readouterr().out == f"床前{text}\n"
    assert command([*words[:-1], "weights=int3"]) == 2
    assert "weights is 'int3'; did you mean int8 or int4?" in capsys.readouterr().err
    with pytest.raises(ValueError, match="weights=int3: not known; use stored, int8, int4"):
        rootlm.load(original, weights="int3")
