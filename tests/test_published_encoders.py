"""Encoders through the doors: filled, compared and learned on as folders, let out and opened again by transformers."""

import json

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import rootlm
from published_folders import TEXTS, edit
from rootlm.cli.main import run as command

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def word_pieces() -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer built as BERT's is."""
    engine = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.train_from_iterator(
        TEXTS * 3, trainers.WordPieceTrainer(vocab_size=300, special_tokens=MARKS, show_progress=False)
    )
    engine.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return transformers.BertTokenizerFast(tokenizer_object=engine)


def write(folder, kind, **given):
    """Write a folder of a tiny BERT whose every parameter counts; returns the model and its tokenizer."""
    torch.manual_seed(0)
    names = word_pieces()
    config = transformers.BertConfig(
        vocab_size=len(names),
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=6,
        max_position_embeddings=128,
        initializer_range=0.3,
        **given,
    )
    model = kind(config).eval()
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return model, names


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "bert"
    return folder, *write(folder, transformers.BertForMaskedLM)


@torch.no_grad()
def test_gaps_are_filled_as_transformers_does(masked, capsys):
    folder, model, names = masked
    gaps = rootlm.load(folder, precision="float32").fill("the sea is <mask> and the ships are small.", 3)
    ids = names("the sea is [MASK] and the ships are small.", return_tensors="pt")["input_ids"]
    logits = model(ids).logits[0, ids[0].tolist().index(4)]
    logits[[0, 2, 3, 4]] = -torch.inf
    shares = logits.softmax(-1).topk(3)
    assert [one.probability for one in gaps[0]] == pytest.approx(shares.values.tolist(), abs=1e-5)
    assert [one.text for one in gaps[0]] == names.convert_ids_to_tokens(shares.indices)
    assert command(["fill", str(folder), "the <mask> is wide", "k=2"]) == 0
    assert "gap 1" in capsys.readouterr().out


@pytest.mark.parametrize(("key", "pooling"), [("cls_token", "cls"), ("mean_tokens", "mean")])
@torch.no_grad()
def test_vectors_of_texts_are_those_that_the_folder_asks_for(key, pooling, tmp_path, capsys):
    model, names = write(tmp_path, transformers.BertModel)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "type": "sentence_transformers.models.Normalize"},
            ]
        )
    )
    modes = {f"pooling_mode_{name}": name == key for name in ("cls_token", "mean_tokens", "max_tokens")}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 48, **modes}))
    texts = ["the sea is wide", "the ships are small. to be, or not to be"]
    given = names(texts, return_tensors="pt", padding=True)
    stream, real = model(**given).last_hidden_state, given["attention_mask"][:, :, None]
    vectors = stream[:, 0] if pooling == "cls" else (stream * real).sum(1) / real.sum(1)
    expected = torch.nn.functional.normalize(vectors, dim=-1)
    run = rootlm.load(tmp_path, precision="float32")
    torch.testing.assert_close(run.embed(texts), expected, rtol=0, atol=1e-5)
    imported = tmp_path / "run"
    assert command(["import", str(tmp_path), f"out={imported}"]) == 0
    torch.testing.assert_close(
        rootlm.load(imported, precision="float32").embed(texts), expected, rtol=0, atol=1e-5
    )
    capsys.readouterr()
    assert command(["similarity", str(imported), *texts]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(float(expected[0] @ expected[1]), abs=5e-3)
    assert command(["verify", str(imported), str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, "max_tokens is not supported"),
        ({"pooling_mode_cls_token": True}, "pooling_mode_mean_tokens with pooling_mode_cls_token"),
        ({"pooling_mode_mean_tokens": False}, "no pooling_mode is not supported"),
    ],
)
def test_another_way_of_making_vectors_is_refused_by_name(changes, said, tmp_path):
    write(tmp_path, transformers.BertModel)
    (tmp_path / "1_Pooling").mkdir()
    file = tmp_path / "1_Pooling" / "config.json"
    file.write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    edit(file, **changes)
    with pytest.raises(ValueError, match=said):
        rootlm.load(tmp_path).embed("the sea")


def test_a_module_behind_the_encoder_is_refused_by_name(tmp_path):
    write(tmp_path, transformers.BertModel)
    (tmp_path / "modules.json").write_text(
        json.dumps([{"type": "sentence_transformers.models.Transformer"}, {"type": "a.Dense"}])
    )
    with pytest.raises(ValueError, match="the module Dense comes behind the encoder"):
        rootlm.load(tmp_path).embed("the sea")


def test_a_folder_is_learned_on_and_let_out(masked, corpus, commands, tmp_path):
    folder, _, names = masked
    run, out = tmp_path / "run", tmp_path / "out"
    recipe = tmp_path / "bert.yaml"
    recipe.write_text(
        f"corpus: {corpus}\ninit_from: {folder}\nout: {run}\nmodel: {{kind: encoder}}\n"
        "objective: {kind: masked}\nsamples: {prompts: []}\nvalidation: {tokens: 200}\n"
        "training: {max_steps: 3, batch_size: 4, window: 48, precision: float32, compile: false}\n"
    )
    ended = commands.run("train", str(recipe))
    assert ended.code == 0, ended.err
    ended = commands.run("export", str(run), "--to", "hf", f"out={out}")
    assert ended.code == 0, ended.err
    assert "written as bert" in ended.out and "are the same" in ended.out
    opened = transformers.AutoModelForMaskedLM.from_pretrained(out).eval()
    tokens = names("the sea is wide and the ships are small", return_tensors="pt")["input_ids"]
    ours = rootlm.load(run, precision="float32").encoder
    with torch.no_grad():
        expected = opened(tokens).logits
        torch.testing.assert_close(ours.predict(ours(tokens)), expected, rtol=0, atol=1e-4)
        before = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()(tokens).logits
    assert not torch.allclose(before, expected, atol=1e-3)
    again = transformers.AutoTokenizer.from_pretrained(out)
    assert again("the sea is wide")["input_ids"] == names("the sea is wide")["input_ids"]
    ended = commands.run("verify", str(run), str(out))
    assert ended.code == 0, ended.err
