"""Settings from files and the command line: what is wrong is named with its place, key and nearest names."""

import json

import pytest
import yaml

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, json_schema, load, parse_override, to_plain, to_yaml
from rootlm.runs.recipe import Recipe, read_recipe, shipped_recipes


def from_line(*words):
    return load(Recipe, None, [parse_override(*word.split("=", 1)) for word in words])


def mistake(*words, file=None):
    with pytest.raises(ValueError) as caught:
        load(Recipe, file, [parse_override(*word.split("=", 1)) for word in words])
    (line,) = str(caught.value).splitlines()
    return line


MISTAKES = {
    "trainin.max_steps=3": "unknown key trainin; did you mean training?",
    "model.dept=3": "unknown key model.dept; did you mean model.depth",
    "a=1": "unknown key a; known: adapter, augment, corpus, embedding, fold, init_from, model,",
    "model.preset=gpt3": "model.preset is 'gpt3'; did you mean gpt2?",
    "model.depth=deep": "model.depth is 'deep', expected a valid integer",
    "model.depth=1.5": "model.depth is 1.5, expected a valid integer",
    "model.depth=true": "model.depth is True, expected a valid integer",
    "model.depth=0": "model.depth is 0, expected greater than or equal to 1",
    "model.depth={x: 3}": "model.depth is {'x': 3}, expected a valid integer",
    "model=3": "model is 3, expected keys and values",
    "model.attention.windo=3": "unknown key model.attention.windo; did you mean model.attention.window?",
    "model.norm.eps=1": "model.norm needs a kind; set model.norm.kind=…",
    "model.feedforward={kind: mixture, expert: {kind: relu2, sise: 3}}": "did you mean model.feedforward.expert.size",
    "training.optimizer.lr=1": "unknown key training.optimizer.lr; known: beta1, beta2, eps, kind, learning_rate,",
    "training.optimizer.kind=adamm": "unknown kind adamm for training.optimizer; did you mean adam or adamw?",
    "training.optimizer={kind: muon, rest: {bet: 1}}": "unknown key training.optimizer.rest.bet; did you mean",
    "training.schedule.warmup_step=3": "did you mean training.schedule.warmup_steps?",
    "training.compile=maybe": "training.compile is 'maybe', expected auto or a valid boolean",
    "training.precision=float16": "training.precision is 'float16'; did you mean bfloat16",
    "tokenizer.vocab_sise=3": "unknown key tokenizer.vocab_sise; did you mean tokenizer.vocab_size?",
    "tokenizer.vocab_size=many": "tokenizer.vocab_size is 'many', expected a valid integer",
    "tokenizer.kind=bpee": "unknown kind bpee for tokenizer; did you mean bpe?",
    "tokenizer=3": "tokenizer is 3, expected a valid string or keys and values",
    "corpus=3": "corpus is 3, expected a valid string or a list",
    "corpus=[{path: a, weigh: 3}]": "unknown key corpus.0.weigh; did you mean corpus.0.weight?",
    "corpus=[{path: a}, {path: b, weight: -3}]": "corpus.1.weight is -3, expected greater than 0",
    "corpus=[{weight: 3}]": "corpus.0.path is missing; set corpus.0.path=…",
    "samples.prompts=hello": "samples.prompts is 'hello', expected a list",
    "samples.sampling.temprature=1": "did you mean samples.sampling.temperature?",
    "model.n_heads=7": "hidden_size 384 is not a multiple of n_heads 7; set head_size or another n_heads",
}


@pytest.mark.parametrize("word", MISTAKES)
def test_a_mistake_on_the_command_line_is_named(word):
    line = mistake(word)
    assert line.startswith("command line: ")
    assert MISTAKES[word] in line


def as_yaml(word):
    key, value = word.split("=", 1)
    *parents, last = key.split(".")
    lines = ["# a comment", "", *(f"{'  ' * depth}{name}:" for depth, name in enumerate(parents))]
    return "\n".join([*lines, f"{'  ' * len(parents)}{last}: {value}"]), 3 + len(parents)


@pytest.mark.parametrize("word", [word for word in MISTAKES if word != "model.n_heads=7"])
def test_a_mistake_in_a_file_is_named_with_its_line(word, tmp_path):
    file, (text, number) = tmp_path / "recipe.yaml", as_yaml(word)
    file.write_text(text)
    line = mistake(file=file)
    place, said = line.split(": ", 1)
    assert MISTAKES[word].removeprefix("command line: ") in said
    # A group that lacks a key is named by the line where the group begins.
    assert place in (f"{file}:{number}", f"{file}:{number - 1}")


def test_every_mistake_has_a_line_of_its_own(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("modl: {}\ntraining:\n  max_steps: no\n  batch_siz: 3\n")
    with pytest.raises(ValueError) as caught:
        load(Recipe, file, [parse_override("outt", "3")])
    places = sorted(line.split(": ")[0] for line in str(caught.value).splitlines())
    assert places == sorted([f"{file}:1", f"{file}:3", f"{file}:4", "command line"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: [\n", "not valid YAML"),
        ("- a\n- b\n", "expected `key: value` lines, found a list"),
        ("model:\n  depth: 1\nout: x\nmodel:\n  depth: 2\n", ":4: model is set twice (first on line 1)"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(text, said, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    line = mistake(file=file)
    assert line.startswith(str(file))
    assert said in line


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "out: there\nmodel: {depth: 3, dropout: 0.5}\ntraining: {optimizer: {kind: muon, momentum: 0.9}}\n"
    )
    found = load(
        Recipe, file, [parse_override("model.depth", "4"), parse_override("training.optimizer.kind", "sgd")]
    )
    assert (found.out, found.model.depth, found.model.dropout) == ("there", 4, 0.5)
    assert to_plain(found.training.optimizer) == {"kind": "sgd", "learning_rate": 0.1, "weight_decay": 0.0}


def test_one_key_of_a_group_leaves_its_others_at_their_default():
    found = from_line("samples.sampling.max_new_tokens=4", "training.schedule.final=0.3")
    assert (found.samples.sampling.seed, found.samples.sampling.top_p) == (0, 0.95)
    assert found.training.schedule.warmup_steps == 50
    rest = from_line(
        "training.optimizer.kind=muon", "training.optimizer.rest.beta2=0.99"
    ).training.optimizer.rest
    assert (rest.learning_rate, rest.weight_decay, rest.beta2) == (3e-3, 0.0, 0.99)


def test_the_kind_of_the_default_need_not_be_said():
    found = from_line(
        "training.optimizer.beta2=0.99", "training.schedule.final=0.3", "tokenizer.vocab_size=300"
    )
    assert (found.training.optimizer.kind, found.training.optimizer.beta2) == ("adamw", 0.99)
    assert (found.training.schedule.kind, found.training.schedule.final) == ("cosine", 0.3)
    assert (found.tokenizer.kind, found.tokenizer.vocab_size) == ("bpe", 300)
    mixture = from_line(
        "model.feedforward.kind=mixture", "model.feedforward.expert.size=10"
    ).model.feedforward
    assert (mixture.experts, mixture.expert.kind, mixture.expert.size) == (8, "swiglu", 10)


@pytest.mark.parametrize(
    "words",
    [
        ["small", "out=x", "model.depth=4", "dry_run=true"],
        ["small", "--out=x", "--model.depth=4", "--dry-run"],
        ["--recipe", "small", "--out", "x", "--model.depth", "4", "--dry-run", "true"],
        ["--dry-run", "small", "--model.depth", "4", "out=x"],
    ],
)
def test_every_way_of_writing_a_setting_means_the_same(words):
    from rootlm.cli.train import Settings

    settings, overrides = parse(words, Settings, ["recipe"], rest=Recipe)
    assert (settings.recipe, settings.dry_run) == ("small", True)
    recipe = load(Recipe, None, overrides)
    assert (recipe.out, recipe.model.depth) == ("x", 4)


def test_values_are_read_as_yaml():
    found = from_line(
        "training.optimizer.learning_rate=1e-3", "training.patience=null", "training.compile=true"
    )
    assert found.training.optimizer.learning_rate == 1e-3
    assert found.training.patience is None
    assert found.training.compile is True
    found = from_line("samples.prompts=[床前, 'a: b']", "out=2024-01-01", "tokenizer=no such")
    assert (found.samples.prompts, found.out, found.tokenizer) == (["床前", "a: b"], "2024-01-01", "no such")


def test_what_is_written_out_reads_back_the_same(tmp_path):
    found = from_line(
        "corpus=[{path: a, weight: 2}]", "model.feedforward.kind=mixture", "training.minutes=0.5"
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(found), encoding="utf-8")
    assert load(Recipe, file) == found


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().out = "x"


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_needs_a_corpus_and_a_place_only(name):
    words = [parse_override("corpus", "c"), parse_override("out", "o")]
    assert read_recipe(name, words).corpus == "c"
    for given, missing in ((words[:1], "out"), (words[1:], "corpus")):
        with pytest.raises(ValueError, match=f"{missing} is missing; set {missing}=…"):
            read_recipe(name, given)


def test_a_recipe_says_how_long_once():
    line = mistake("training.minutes=1", "training.epochs=2")
    assert "training.minutes and training.epochs both say how long; keep one" in line
    with pytest.raises(ValueError, match=r"how long\? set training.minutes=…, training.max_steps=…"):
        read_recipe(
            "small",
            [parse_override(k, v) for k, v in (("corpus", "c"), ("out", "o"), ("training.minutes", "null"))],
        )


def test_an_unknown_recipe_names_those_that_ship():
    with pytest.raises(ValueError, match=r"smal: no such recipe; give a YAML file or one of .*small"):
        read_recipe("smal", [])


def fits(value, schema, root):
    """The part of JSON Schema that pydantic writes, checked without another library."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]] | {
            k: v for k, v in schema.items() if k != "$ref"
        }
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return any(fits(value, option, root) for option in schema[choice])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    if schema["type"] == "null":
        return value is None
    if not isinstance(value, kinds[schema["type"]]) or (
        isinstance(value, bool) and schema["type"] != "boolean"
    ):
        return False
    if schema["type"] == "array":
        if "prefixItems" in schema:
            parts = schema["prefixItems"]
            return len(value) == len(parts) and all(
                fits(i, s, root) for i, s in zip(value, parts, strict=True)
            )
        return all(fits(item, schema["items"], root) for item in value)
    if schema["type"] == "object":
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False and not value.keys() <= known.keys():
            return False
        return all(fits(item, known[key], root) for key, item in value.items() if key in known)
    return True


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_schema_for_editors_takes_shipped_recipes_and_refuses_mistakes(name):
    schema = json.loads(json.dumps(json_schema(Recipe)))
    data = yaml.safe_load(shipped_recipes()[name].read_text(encoding="utf-8"))
    assert fits(data, schema, schema)
    assert fits(to_plain(Recipe()), schema, schema)
    assert not fits({**data, "modl": {}}, schema, schema)
    assert not fits({**data, "model": {**data["model"], "depth": "deep"}}, schema, schema)
    assert not fits({**data, "training": {"optimizer": {"kind": "adamm"}}}, schema, schema)


def described(kind, seen):
    if kind in seen:
        return
    seen.add(kind)
    from rootlm.cli.arguments import _groups

    for name, field in kind.model_fields.items():
        assert field.description or name == "kind", f"{kind.__name__}.{name} says nothing of itself"
        for group in _groups(field.annotation):
            described(group, seen)


def test_every_setting_describes_itself():
    seen: set[type[Config]] = set()
    described(Recipe, seen)
    assert len(seen) > 20
