"""Published encoder–decoders through the doors: translated with, let out again, and every way they can be wrong."""

import json
import shutil

import pytest
import torch
import transformers

import rootlm
from foreign_tokenizers import strings
from pair_folders import bart_folder, marian_folder, t5_folder
from published_folders import edit
from rootlm.cli.main import run as command
from rootlm.core.files import read_json
from rootlm.layers.attention import AttentionConfig
from rootlm.layers.norms import RMSNormConfig
from rootlm.models.catalog import load_model, save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign import ctranslate2_spec
from rootlm.runs import ctranslate2_exported
from toys import byte_tokenizer

SOURCES = ["The sea is wide and the ships are small.", "今天天气很好", ">>deu<< To be, or not to be"]
MAKERS = {
    "marian": marian_folder,
    "marian_apart": lambda folder: marian_folder(folder, apart=True),
    "t5": t5_folder,
    "flan_t5": lambda folder: t5_folder(folder, flan=True),
    "bart": bart_folder,
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder for each family, as a hub has it."""
    made = tmp_path_factory.mktemp("hub")
    for name, make in MAKERS.items():
        make(made / name)
    return made


@pytest.fixture
def folder(originals, tmp_path):
    return lambda name: shutil.copytree(originals / name, tmp_path / name)


def said(capsys, *words):
    """Run a command; returns its exit code and what it said, in one line where it failed."""
    capsys.readouterr()
    code = command(list(map(str, words)))
    out, err = capsys.readouterr()
    assert code == 0 or err.strip().count("\n") == 0, err
    return code, out + err


def answered(folder, text):
    """Return the greedy answer of transformers, without the begin mark, as ids and as text."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    names = transformers.AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([names(text)["input_ids"]])
    mask = torch.ones_like(ids)
    written = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1)[0]
    return written[1:].tolist(), names.decode(written, skip_special_tokens=True)


@pytest.mark.parametrize("name", MAKERS)
def test_answers_are_those_of_transformers(originals, name):
    """With the marks that its settings force, the lengths they ask for and the tokens they rule out."""
    opened = rootlm.load(originals / name, precision="float32")
    distinct = set[int]()
    for text in SOURCES:
        expected, _ = answered(originals / name, text)
        ((one,),) = opened.answers(text)
        forced = opened.answering.begun(0)[1:]
        assert [*forced, *one.tokens] == expected
        assert (one.finish_reason == "length") == (len(expected) == opened.sampling.max_new_tokens)
        distinct |= set(one.tokens)
        ((short,),) = opened.answers(text, max_new_tokens=5)
        assert len([*forced, *short.tokens]) <= 5
    assert len(distinct) > 5


@pytest.mark.parametrize("name", MAKERS)
def test_tokenizers_give_the_same_ids(originals, name):
    opened = rootlm.load(originals / name, precision="float32")
    names = transformers.AutoTokenizer.from_pretrained(originals / name)
    reader = opened.source_tokenizer or opened.tokenizer
    # They take the names of special tokens in a text for those tokens, we never do.
    marks = [*names.all_special_tokens, "<extra_id_"]
    texts = [text for text in (*SOURCES, ">>xyz<<a", *strings(2000)) if not any(m in text for m in marks)]
    assert len(texts) > 1000
    for text in texts:
        assert reader.framed(reader.encode(text)) == names(text)["input_ids"], text
        target = names(text_target=text, add_special_tokens=False)["input_ids"]
        assert opened.tokenizer.encode(text) == target, text
    for ids in ([5, 9, 30, 12], [41, 40, 3]):
        assert opened.tokenizer.decode(ids).strip() == names.decode(ids, skip_special_tokens=True).strip()


def test_a_marian_folder_translates_and_leaves_for_ctranslate2(originals, tmp_path, capsys):
    import ctranslate2

    original, run, out = originals / "marian", tmp_path / "run", tmp_path / "ct2"
    tokens, text = answered(original, SOURCES[0])
    assert said(capsys, "import", original, f"out={run}")[0] == 0
    for place in (original, run):
        code, told = said(capsys, "translate", place, SOURCES[0], "json=true")
        answer = json.loads(told.splitlines()[0])
        assert code == 0
        assert (answer["tokens"], answer["text"].strip()) == (tokens, text.strip())
    code, told = said(capsys, "export", run, "--to", "ctranslate2", f"out={out}")
    assert code == 0
    assert "log-probabilities of 95 texts differ by at most" in told
    translator = ctranslate2.Translator(str(out), compute_type="float32")
    names = transformers.AutoTokenizer.from_pretrained(original)
    pieces = names.convert_ids_to_tokens(names(SOURCES[0])["input_ids"])
    banned = [[names.pad_token]]
    size = len(tokens) - 1  # the end mark is forced there
    (found,) = translator.translate_batch(
        [pieces], beam_size=1, max_decoding_length=size, suppress_sequences=banned, no_repeat_ngram_size=2
    )
    assert names.convert_tokens_to_ids(found.hypotheses[0]) == tokens[:size]
    assert "log-probabilities of 95 texts" in (out / "README.md").read_text()
    back = tmp_path / "hf"
    assert said(capsys, "export", run, "--to", "hf", f"out={back}")[0] == 0
    assert said(capsys, "verify", original, back)[0] == 0
    assert answered(back, SOURCES[0]) == (tokens, text)


@pytest.mark.parametrize("name", ["flan_t5", "bart", "marian_apart"])
def test_a_folder_is_a_run_and_comes_back_the_same(originals, name, tmp_path, capsys):
    run, back = tmp_path / "run", tmp_path / "back"
    assert said(capsys, "import", originals / name, f"out={run}")[0] == 0
    code, told = said(capsys, "export", run, "--to", "hf", f"out={back}", "shard_bytes=100000")
    assert code == 0, told
    assert "ids of 100 texts are the same" in told
    for text in SOURCES[:2]:
        assert answered(back, text) == answered(originals / name, text)
    assert "AutoModelForSeq2SeqLM" in (back / "README.md").read_text()
    assert said(capsys, "verify", run, back, "reader=rootlm")[0] == 0


def test_verify_sees_another_begin_mark_and_another_weight(originals, folder, capsys):
    other = folder("flan_t5")
    edit(other / "generation_config.json", decoder_start_token_id=5)
    code, told = said(capsys, "verify", originals / "flan_t5", other)
    assert code == 2
    assert "differ" in told
    shutil.rmtree(other)
    other = folder("flan_t5")
    model = transformers.T5ForConditionalGeneration.from_pretrained(other)
    with torch.no_grad():
        model.decoder.block[1].layer[1].EncDecAttention.q.weight[0] += 0.5
    model.save_pretrained(other)
    code, told = said(capsys, "verify", originals / "flan_t5", other)
    assert code == 2
    assert "logits differ by" in told


HOUSE = {
    "marian": {"position": {"kind": "sinusoidal", "halves": True}},
    "t5": {"preset": "t5", "embedding_scale": 1.0, "attention": {"scale": 1.0}},
    "": {},
    "rotary": {"order": "pre", "position": {"kind": "rotary"}},
    "small steps": {"norm": {"kind": "rmsnorm", "eps": 0.3}, "order": "pre", "head_bias": True},
    "scaled": {"embedding_scale": 3.0, "position": {"kind": "none"}, "feedforward": {"kind": "swiglu"}},
}


def house(run, **given):
    """Write a run of ours, as if it had learned something."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    sizes = {"depth": 1, "encoder_depth": 2, "hidden_size": 32, "n_heads": 2, "context": 200}
    model = EncoderDecoderConfig(**{**sizes, **given}).build(tokenizer.vocab_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * (0.3 if parameter.ndim == 1 else 0.1))
    save_model(model, run)
    tokenizer.save(run)
    return run


@pytest.mark.parametrize("name", HOUSE)
def test_runs_of_ours_leave_where_somebody_has_such_a_network(name, tmp_path, capsys):
    run = house(tmp_path / "run", **HOUSE[name])
    code, told = said(capsys, "export", run, "to=ctranslate2", f"out={tmp_path / 'ct2'}")
    assert code == 0, told
    code, told = said(capsys, "export", run, "to=hf", f"out={tmp_path / 'hf'}")
    if name not in ("marian", "t5"):
        assert code == 2
        assert "no Hugging Face family has this network" in told
        assert not (tmp_path / "hf").exists()
        return
    assert code == 0, told
    tokens, _ = answered(tmp_path / "hf", "床前 a")
    ((one,),) = rootlm.load(run, precision="float32").answers("床前 a", temperature=0, max_new_tokens=199)
    assert list(one.tokens) == tokens


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"copies": True}, "model.copies"),
        ({"n_kv_heads": 1}, "model.n_kv_heads"),
        ({"feedforward": {"kind": "relu2"}}, "model.feedforward.kind=relu2"),
        ({"position": {"kind": "alibi"}}, "model.position.kind=alibi"),
        ({"attention": AttentionConfig(qk_norm=True)}, "model.attention.qk_norm"),
        ({"norm": RMSNormConfig(about_one=True)}, "model.norm.about_one"),
    ],
)
def test_what_ctranslate2_cannot_compute_is_refused_by_name(given, named, tmp_path, capsys):
    code, told = said(
        capsys, "export", house(tmp_path / "run", **given), "to=ctranslate2", f"out={tmp_path / 'o'}"
    )
    assert code == 2
    assert f"{named}: CTranslate2 has nothing like it" in told
    assert not (tmp_path / "o").exists()


def test_an_export_that_says_something_else_is_seen(tmp_path):
    """The comparison of one run with the folder of another, whose weights differ a little."""
    run, other = (house(tmp_path / name) for name in ("run", "other"))
    ctranslate2_exported.export_ctranslate2(run, tmp_path / "ct2", say=lambda text: None)
    model = load_model(other)
    with torch.no_grad():
        model.decoder.blocks[0].cross.out.weight[0, 0] += 1.0
    save_model(model, other)
    found = ctranslate2_exported.compare(rootlm.load(other, precision="float32"), tmp_path / "ct2")
    assert not found.agrees
    assert "log-probabilities of 95 texts differ by " in found.sentence


def test_without_the_library_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ctranslate2_spec, "LIBRARY", "ctranslate2_not_there")
    code, told = said(capsys, "export", house(tmp_path / "run"), "to=ctranslate2", f"out={tmp_path / 'o'}")
    assert code == 2
    assert "is not installed; pip install 'rootlm[" in told


def test_ctranslate2_is_for_encoder_decoders(tmp_path, capsys):
    run, tokenizer = tmp_path / "run", byte_tokenizer()
    save_model(DecoderConfig(depth=1, hidden_size=32, n_heads=2).build(tokenizer.vocab_size), run)
    tokenizer.save(run)
    code, told = said(capsys, "export", run, "to=ctranslate2", f"out={tmp_path / 'o'}")
    assert code == 2
    assert "model.kind=decoder is no encoder–decoder" in told


def test_two_tokenizers_of_ours_leave_for_no_folder(tmp_path, capsys):
    size = byte_tokenizer().vocab_size
    run = house(tmp_path / "run", source_vocab_size=size, **HOUSE["marian"])
    byte_tokenizer().save(run / "source_tokenizer")
    code, told = said(capsys, "export", run, "to=hf", f"out={tmp_path / 'o'}")
    assert code == 2
    assert "no Hugging Face folder holds two tokenizers" in told
    assert said(capsys, "export", run, "to=ctranslate2", f"out={tmp_path / 'ct2'}")[0] == 0


@pytest.mark.parametrize(
    ("name", "file", "changes", "named"),
    [
        ("bart", "config.json", {"decoder_ffn_dim": 96}, "decoder_ffn_dim=96 is not supported"),
        ("bart", "config.json", {"normalize_before": True}, "normalize_before=True is not supported"),
        ("bart", "config.json", {"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        (
            "bart",
            "config.json",
            {"activation_function": "tanh"},
            "activation_function='tanh' is not supported",
        ),
        (
            "bart",
            "generation_config.json",
            {"bad_words_ids": [[3, 4]]},
            "only single tokens can be ruled out",
        ),
        ("bart", "generation_config.json", {"forced_bos_token_id": "x"}, "forced_bos_token_id is 'x'"),
        ("t5", "config.json", {"feed_forward_proj": "gated-relu"}, "feed_forward_proj='gated-relu'"),
        ("t5", "config.json", {"is_decoder": True}, "is_decoder=True is not supported"),
        ("t5", "config.json", {"num_layers": 2}, "which rootlm has no place for"),
        ("t5", "generation_config.json", {"decoder_start_token_id": 84}, "its tokenizer does not know"),
        ("marian", "vocab.json", {"<unk>": None}, "vocab.json: expected names with the ids from 0 on"),
        ("marian", "config.json", {"decoder_vocab_size": 40}, "config.json"),
    ],
)
def test_a_folder_that_is_wrong_is_refused_in_one_line(folder, name, file, changes, named, capsys):
    place = folder(name)
    edit(place / file, **changes)
    code, told = said(capsys, "translate", place, "a")
    assert code == 2
    assert named in told


def test_a_folder_that_says_no_begin_is_refused(folder, capsys):
    place = folder("flan_t5")
    for file in ("config.json", "generation_config.json"):
        edit(place / file, decoder_start_token_id=None)
    code, told = said(capsys, "translate", place, "a")
    assert code == 2
    assert "names no decoder_start_token_id" in told


def test_a_missing_vocabulary_is_named(folder, capsys):
    place = folder("marian")
    (place / "vocab.json").unlink()
    code, told = said(capsys, "import", place, f"out={place}-run")
    assert code == 2
    assert "vocab.json: cannot be read" in told


def test_older_folders_say_in_their_config_how_to_answer(folder):
    place = folder("bart")
    held = json.loads((place / "generation_config.json").read_text())
    expected = rootlm.load(place, precision="float32").translate(SOURCES[0])
    edit(place / "config.json", **{key: value for key, value in held.items() if "version" not in key})
    (place / "generation_config.json").unlink()
    assert rootlm.load(place, precision="float32").translate(SOURCES[0]) == expected


def test_training_begins_from_a_marian_folder_and_leaves_as_one(folder, tmp_path, capsys):
    rows = [{"en": f"the sea {n}", "de": f"das Meer {n}", "page": n // 5} for n in range(60)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus, run, out = tmp_path / "corpus", tmp_path / "run", tmp_path / "hf"
    words = ("read.pair=[en,de]", "split.together=page", "split.validation=0.2", "split.test=0.2")
    code, told = said(capsys, "data", "prepare", tmp_path / "pairs.jsonl", f"out={corpus}", *words)
    assert code == 0, told
    (tmp_path / "recipe.yaml").write_text(
        f"corpus: {corpus}\ninit_from: {folder('marian')}\n"
        "objective: {kind: sequence_to_sequence, direction: [en, de]}\n"
        "training: {max_steps: 2, batch_tokens: 200, compile: false, precision: float32, window: 64}\n"
        "validation: {tokens: 100}\n"
    )
    code, told = said(capsys, "train", tmp_path / "recipe.yaml", f"out={run}")
    assert code == 0, told
    begun, before = load_model(run), load_model(tmp_path / "marian")
    assert begun.config.source_vocab_size is None
    assert 0 < (begun.embedding.weight - before.embedding.weight).abs().max() < 0.2
    code, told = said(capsys, "export", run, "to=hf", f"out={out}")
    assert code == 0, told
    assert (out / "source.spm").is_file()
    assert rootlm.load(out).tokenizer.bos_id == rootlm.load(run).tokenizer.bos_id
    # It learned to begin, to end and never to say as the folder has it, and goes on choosing as it did.
    manners, kept = (read_json(place / "generation_config.json") for place in (tmp_path / "marian", run))
    assert {name: kept.get(name) for name in manners} == manners
    assert rootlm.load(run).sampling == rootlm.load(tmp_path / "marian").sampling
    greedy = ("temperature=0", "max_new_tokens=9", "json=true")
    own, outside = (
        json.loads(said(capsys, "translate", place, SOURCES[0], *greedy)[1].splitlines()[0])
        for place in (run, out)
    )
    assert own["tokens"] == outside["tokens"]
    code, told = said(capsys, "export", run, "to=ctranslate2", f"out={tmp_path / 'ct2'}")
    assert code == 0, told
    assert "greedy answers are the same" in told
    assert "pipeline_tag: translation" in (tmp_path / "ct2" / "README.md").read_text()
