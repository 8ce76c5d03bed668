"""Published encoders in use: filled, compared, trained on, let out again; and every way in which one can be wrong."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

import rootlm
from foreign_families import unsettle
from published_folders import TEXTS, edit
from rootlm.cli.main import run as command
from rootlm.models.catalog import load_model, read_saved
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.foreign.registry import FAMILIES, family_for
from rootlm.runs.material import Material
from rootlm.runs.recipe import Recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAIR = ("The sea is wide and the ships are small.", "今天天气很好，我们去公园散步吧。")


def word_pieces():
    """Return a tokenizer as BERT's, which lower-cases and puts a text between two marks."""
    engine = Engine(models.WordPiece(unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    engine.train_from_iterator(TEXTS * 3, trainer)
    marks = [(name, engine.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    roles = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    return transformers.BertTokenizerFast(tokenizer_object=engine, **roles)


def bert_folder(folder, kind=transformers.BertForMaskedLM, **settings):
    """Write a folder of a tiny BERT; returns the model."""
    names = word_pieces()
    shape = {
        "vocab_size": len(names),
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "max_position_embeddings": 64,
    }
    model = unsettle(kind(transformers.BertConfig(**{**shape, **settings})))
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return model


def pooled_by(folder, ways, *, normalised=True):
    """Lay beside an encoder what sentence-transformers lays there."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalised else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": n, "name": str(n), "path": paths[n], "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 48, **ways}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    bert_folder(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


@pytest.fixture
def sentences(tmp_path):
    folder = tmp_path / "sentences"
    bert_folder(folder, transformers.BertModel)
    pooled_by(folder, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    return folder


def said(capsys, *words):
    """Run a command; returns its exit code and what it said, in one line where it failed."""
    capsys.readouterr()
    code = command(list(words))
    out, err = capsys.readouterr()
    assert code == 0 or err.strip().count("\n") == 0, err
    return code, out + err


@torch.no_grad()
def filled(folder, text, k):
    """Return the k likeliest tokens for each mask by transformers, and their shares without the marks'."""
    names = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    read = names(text, return_tensors="pt")
    logits = model(**read).logits[read["input_ids"] == names.mask_token_id]
    # The unknown is no mark: text makes it.
    logits[:, [i for i in names.all_special_ids if i != names.unk_token_id]] = -torch.inf
    shares = logits.softmax(-1).topk(k)
    return [names.convert_ids_to_tokens(row) for row in shares.indices.tolist()], shares.values


def texts(gaps):
    return [[one.text for one in gap] for gap in gaps]


TEXT = "The sea is [MASK] and the [MASK] are small, 床前[MASK]月光."


def test_a_folder_is_filled_as_transformers_fills_it(original, capsys):
    code, text = said(capsys, "fill", str(original), TEXT, "k=4", "json=true")
    assert code == 0, text
    found = json.loads(text)["gaps"]
    names, shares = filled(original, TEXT, 4)
    # The verb's own precision may turn the order of two that are nearly as likely.
    assert [[one["text"] for one in gap] for gap in found] == texts(rootlm.load(original).fill(TEXT, 4))
    given = torch.tensor([[one["probability"] for one in gap] for gap in found])
    torch.testing.assert_close(given, shares, atol=0.02, rtol=0.05)
    opened = rootlm.load(original, precision="float32")
    assert texts(opened.fill(TEXT, 4)) == names
    exact = torch.tensor([[one.probability for one in gap] for gap in opened.fill(TEXT, 4)])
    torch.testing.assert_close(exact, shares, atol=1e-5, rtol=1e-4)
    assert opened.fill(TEXT.replace("[MASK]", "<mask>"), 4) == opened.fill(TEXT, 4)


def test_imported_trained_and_let_out_it_stays_the_same(original, corpus, commands, tmp_path, capsys):
    run, back, begun, out = (tmp_path / name for name in ("run", "back", "begun", "out"))
    assert said(capsys, "import", str(original), f"out={run}")[0] == 0
    code, text = said(capsys, "export", str(run), "--to", "hf", f"out={back}")
    assert code == 0, text
    assert "ids of 100 texts are the same" in text
    assert filled(back, TEXT, 3)[0] == filled(original, TEXT, 3)[0]
    assert "AutoModelForMaskedLM" in (back / "README.md").read_text()
    assert said(capsys, "verify", str(original), str(back))[0] == 0
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {original}\nout: {begun}\nobjective: {{kind: masked}}\n"
        "training: {max_steps: 2, batch_size: 2, window: 32, precision: float32, compile: false}\n"
        "validation: {tokens: 200}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 0, ended.err
    moved = load_model(begun).embedding.weight - load_model(original).embedding.weight
    assert 0 < moved.abs().max() < 0.1
    code, text = said(capsys, "export", str(begun), "to=hf", f"out={out}")
    assert code == 0, text
    names, shares = filled(out, TEXT, 3)
    opened = rootlm.load(begun, precision="float32").fill(TEXT, 3)
    assert [[one.text for one in gap] for gap in opened] == names
    told = torch.tensor([[one.probability for one in gap] for gap in opened])
    torch.testing.assert_close(told, shares, atol=1e-5, rtol=1e-4)
    assert commands.run("evaluate", str(original), f"data={corpus}", "documents=2").code == 0


def test_verify_finds_one_weight_of_an_encoder(original, folder, capsys):
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.encoder.layer.1.output.dense.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, text = said(capsys, "verify", str(original), str(folder))
    assert code == 2
    assert "are not the same" in text


@torch.no_grad()
def vectors(folder, texts, how):
    """Return the pooled streams by transformers, one text at a time."""
    names = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    found = []
    for text in texts:
        stream = model(**names(text, return_tensors="pt", truncation=True, max_length=12)).last_hidden_state[
            0
        ]
        found.append({"mean": stream.mean(0), "cls": stream[0], "max": stream.amax(0)}[how])
    return torch.stack(found)


WAYS = {
    "mean": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    "cls": {"pooling_mode": "cls"},
    "max": {"pooling_mode_max_tokens": True},
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("normalised", [True, False])
def test_texts_become_the_vectors_that_the_folder_says(how, normalised, sentences, tmp_path, capsys):
    pooled_by(sentences, WAYS[how], normalised=normalised)
    expected = vectors(sentences, PAIR, how)
    assert expected.std() >= 0.2
    run, out = tmp_path / "run", tmp_path / "out"
    assert said(capsys, "import", str(sentences), f"out={run}")[0] == 0
    code, text = said(capsys, "export", str(run), "to=hf", f"out={out}")
    assert code == 0, text
    for place in (sentences, run, out):
        opened = rootlm.load(place, precision="float32")
        found = opened.embed(list(PAIR))
        wanted = torch.nn.functional.normalize(expected) if normalised else expected
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
        cosine = float(torch.cosine_similarity(*expected, dim=0))
        assert opened.similarity(*PAIR) == pytest.approx(cosine, abs=1e-4)
    code, text = said(capsys, "similarity", str(sentences), *PAIR)
    assert float(text) == pytest.approx(cosine, abs=0.02)


def test_an_encoder_without_output_gets_one_when_it_learns_to_fill(
    sentences, corpus, commands, tmp_path, capsys
):
    code, text = said(capsys, "fill", str(sentences), TEXT)
    assert code == 2
    assert "this encoder has no output over tokens" in text
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {sentences}\nout: {tmp_path / 'begun'}\nobjective: {{kind: masked}}\n"
        "training: {max_steps: 2, batch_size: 2, window: 32, precision: float32, compile: false}\n"
        "validation: {tokens: 200}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 0, ended.err
    assert len(rootlm.load(tmp_path / "begun").fill(TEXT)) == 3
    begun, out = tmp_path / "begun", tmp_path / "out"
    assert commands.run("export", str(begun), "to=hf", f"out={out}").code == 0
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        for place in (begun, out):
            assert (place / name).read_bytes() == (sentences / name).read_bytes()
    torch.testing.assert_close(rootlm.load(out).embed(TEXT), rootlm.load(begun).embed(TEXT))
    assert rootlm.load(begun).way == rootlm.load(sentences).way


def test_a_sentence_encoder_learns_adapters_that_peft_puts_on_it(sentences, corpus, commands, tmp_path):
    recipe, run, out = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "out"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {sentences}\nobjective: {{kind: contrastive}}\n"
        "adapter: {kind: lora, rank: 2}\nmodel: {dropout: 0.1}\nvalidation: {tokens: 200}\n"
        "training: {max_steps: 2, batch_size: 2, window: 32, precision: float32, compile: false}\n"
    )
    ended = commands.run("train", str(recipe), f"out={run}")
    assert ended.code == 0, ended.err
    ended = commands.run("export", str(run), "to=peft", f"out={out}")
    assert ended.code == 0, ended.err
    assert "rootlm beside PEFT" in ended.out
    assert commands.run("import", str(out), f"out={tmp_path / 'again'}").code == 0
    learned, again = (rootlm.load(place, precision="float32") for place in (run, tmp_path / "again"))
    assert learned.model.config.dropout == 0.1
    assert learned.way == again.way == rootlm.load(sentences).way
    assert torch.equal(learned.embed(PAIR), again.embed(PAIR))


def test_texts_are_read_in_training_as_they_are_read_afterwards(original, corpus):
    recipe = Recipe(
        corpus=str(corpus), init_from=str(original), out="nowhere", model=read_saved(original).model
    )
    tokenizer = rootlm.load(original).tokenizer
    marks = Material(tokenizer, (), ()).marks_for(recipe)
    assert tokenizer.framed([5]) == [marks.bos_id, 5, marks.eos_id]
    assert marks.closes


def of_config(**changes):
    return lambda folder: edit(folder / "config.json", **changes)


def a_left_over(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {**tensors, "classifier.weight": torch.zeros(2, 48)}, folder / "model.safetensors", {"format": "pt"}
    )


def half_a_head(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["cls.predictions.transform.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def ways(**given):
    return lambda folder: pooled_by(folder, given)


def a_dense_module(folder):
    pooled_by(folder, WAYS["cls"])
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))


def a_module_outside(folder):
    pooled_by(folder, WAYS["cls"])
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../other"
    (folder / "modules.json").write_text(json.dumps(modules))


def no_pooling_file(folder):
    pooled_by(folder, WAYS["cls"])
    (folder / "1_Pooling" / "config.json").unlink()


def another(model_type, **changes):
    return of_config(model_type=model_type, architectures=None, **changes)


WRONG = {
    "places are told by distance": (
        of_config(position_embedding_type="relative_key"),
        "position_embedding_type='relative_key' is not supported",
    ),
    "it is a decoder": (of_config(is_decoder=True), "is_decoder=True is not supported"),
    "it attends across": (of_config(add_cross_attention=True), "add_cross_attention=True is not supported"),
    "the output has a table of its own": (
        of_config(tie_word_embeddings=False), "tie_word_embeddings=False is not supported"
    ),
    "it classifies": (
        of_config(architectures=["BertForSequenceClassification"]),
        "architectures='BertForSequenceClassification' is not supported: of this family rootlm computes",
    ),
    "a classifier is left over": (a_left_over, "holds classifier.weight, which rootlm has no place for"),
    "half of the output is missing": (half_a_head, "holds no cls.predictions.transform.dense.weight"),
    "an activation is not known": (of_config(hidden_act="silu"), "hidden_act='silu' is not supported"),
    "a key is not known": (of_config(embedding_size=12), "embedding_size=12 is not supported"),
    "heads do not divide": (of_config(num_attention_heads=5), "hidden_size 48 is not a multiple of n_heads 5"),
    "there is no row for the first place": (
        another("roberta", pad_token_id=70), "max_position_embeddings is 64, expected more than 72"
    ),
    "padding is no id": (another("roberta", pad_token_id="none"), "pad_token_id is 'none'"),
    "layers are in no order": (
        another(
            "modernbert",
            layer_types=["sliding_attention", "full_attention"],
            hidden_act=None,
            type_vocab_size=None,
        ),
        "layer_types=.* is not supported",
    ),
    "the output has no bias": (another("modernbert", decoder_bias=False), "decoder_bias=False is not supported"),
    "a rotation is scaled": (
        another("modernbert", rope_parameters={"full_attention": {"rope_type": "linear", "factor": 2.0}}),
        "rope_type='linear' is not supported",
    ),
    "two ways of pooling": (
        ways(pooling_mode_cls_token=True, pooling_mode_mean_tokens=True), "2 ways of pooling are set at once"
    ),
    "a way of pooling is not known": (
        ways(pooling_mode_mean_sqrt_len_tokens=True), "pooling_mode_mean_sqrt_len_tokens=true is not supported"
    ),
    "a module is not known": (a_dense_module, "Dense is not supported"),
    "a module lies elsewhere": (a_module_outside, "path '../other' of a module is no folder beside it"),
    "the pooling is missing": (no_pooling_file, "1_Pooling/config.json"),
}  # fmt: skip


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
    ("config", "expected"),
    [
        (EncoderConfig(preset="modern", pooler="mean", depth=2), "lacks pooler=mean"),
        (EncoderConfig(preset="bert", heads={"number": 1}, depth=2), "lacks heads.number=1"),
        (EncoderConfig(preset="bert", order="pre", depth=2), "lacks order=pre"),
    ],
)
def test_what_no_family_has_is_named(config, expected):
    with pytest.raises(ValueError, match=expected):
        family_for(config, 50)


@pytest.mark.parametrize(("preset", "name"), [("bert", "bert"), ("modern", "modernbert")])
def test_networks_of_ours_have_a_family(preset, name):
    config = EncoderConfig(preset=preset, depth=3, dropout=0.1, unpadded=True)
    assert family_for(config, 50).model_type == name


BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
PUBLISHED = {
    "bert-base-uncased": (
        {
            **BASE,
            "architectures": ["BertForMaskedLM"],
            "attention_probs_dropout_prob": 0.1,
            "gradient_checkpointing": False,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 512,
            "model_type": "bert",
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "transformers_version": "4.6.0.dev0",
            "type_vocab_size": 2,
            "use_cache": True,
            "vocab_size": 30522,
        },
        512,
    ),
    "xlm-roberta-base": (
        {
            **BASE,
            "architectures": ["XLMRobertaForMaskedLM"],
            "attention_probs_dropout_prob": 0.1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 514,
            "model_type": "xlm-roberta",
            "output_past": True,
            "pad_token_id": 1,
            "position_embedding_type": "absolute",
            "type_vocab_size": 1,
            "use_cache": True,
            "vocab_size": 250002,
        },
        512,
    ),
    "distilbert-base-uncased": (
        {
            "activation": "gelu",
            "architectures": ["DistilBertForMaskedLM"],
            "attention_dropout": 0.1,
            "dim": 768,
            "dropout": 0.1,
            "hidden_dim": 3072,
            "initializer_range": 0.02,
            "max_position_embeddings": 512,
            "model_type": "distilbert",
            "n_heads": 12,
            "n_layers": 6,
            "pad_token_id": 0,
            "qa_dropout": 0.1,
            "seq_classif_dropout": 0.2,
            "sinusoidal_pos_embds": False,
            "tie_weights_": True,
            "vocab_size": 30522,
        },
        512,
    ),
    "ModernBERT-base": (
        {
            "architectures": ["ModernBertForMaskedLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 50281,
            "classifier_activation": "gelu",
            "classifier_bias": False,
            "classifier_dropout": 0.0,
            "classifier_pooling": "mean",
            "cls_token_id": 50281,
            "decoder_bias": True,
            "deterministic_flash_attn": False,
            "embedding_dropout": 0.0,
            "eos_token_id": 50282,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "gradient_checkpointing": False,
            "hidden_activation": "gelu",
            "hidden_size": 768,
            "initializer_cutoff_factor": 2.0,
            "initializer_range": 0.02,
            "intermediate_size": 1152,
            "layer_norm_eps": 1e-05,
            "local_attention": 128,
            "local_rope_theta": 10000.0,
            "max_position_embeddings": 8192,
            "mlp_bias": False,
            "mlp_dropout": 0.0,
            "model_type": "modernbert",
            "norm_bias": False,
            "norm_eps": 1e-05,
            "num_attention_heads": 12,
            "num_hidden_layers": 22,
            "pad_token_id": 50283,
            "position_embedding_type": "absolute",
            "sep_token_id": 50282,
            "tie_word_embeddings": True,
            "vocab_size": 50368,
        },
        8192,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_is_understood_to_the_last_parameter(name, tmp_path):
    data, context = PUBLISHED[name]
    (tmp_path / "config.json").write_text(json.dumps(data))
    with torch.device("meta"):
        theirs = transformers.AutoModelForMaskedLM.from_config(
            transformers.AutoConfig.from_pretrained(tmp_path)
        )
        config, vocab_size = FAMILIES[data["model_type"]].read_config(data, "config.json")
        config = FAMILIES[data["model_type"]].fit(config, theirs.state_dict())
        assert config.build(vocab_size).n_parameters() == sum(one.numel() for one in theirs.parameters())
    assert config.context == context
