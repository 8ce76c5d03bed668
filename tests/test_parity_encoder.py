"""What encoders compute equals transformers in float32, from its folders and in ours, every parameter random."""

import json

import pytest
import torch
import transformers

from rootlm.models.catalog import weights
from rootlm.models.foreign.hugging_face_folder import open_folder, write_folder
from rootlm.models.foreign.registry import FAMILIES

VOCABULARY, CONTEXT, TIME = 97, 64, 40
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "max_position_embeddings": CONTEXT,
    "attn_implementation": "eager",
}


def bert(kind, **given):
    return kind(transformers.BertConfig(**COMMON, pad_token_id=0, **given))


def roberta(kind):
    config = {**COMMON, "max_position_embeddings": CONTEXT + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return kind(transformers.RobertaConfig(**config, pad_token_id=1, bos_token_id=0, eos_token_id=2))


def distilbert(kind):
    sizes = {"dim": 48, "hidden_dim": 80, "n_layers": 4, "n_heads": 6}
    config = transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=CONTEXT,
        pad_token_id=0,
        attn_implementation="eager",
        **sizes,
    )
    return kind(config)


def modern(kind, **given):
    settings = {"local_attention": 12, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **given}
    marks = {"cls_token_id": 1, "sep_token_id": 2}
    return kind(transformers.ModernBertConfig(**COMMON, **settings, **marks))


MEMBERS = {
    "bert": lambda: bert(transformers.BertForMaskedLM),
    "bert_of_pairs": lambda: bert(transformers.BertForPreTraining),
    "bert_of_texts": lambda: bert(transformers.BertModel),
    "bert_of_one_type": lambda: bert(transformers.BertForMaskedLM, type_vocab_size=3),
    "roberta": lambda: roberta(transformers.RobertaForMaskedLM),
    "roberta_of_texts": lambda: roberta(transformers.RobertaModel),
    "distilbert": lambda: distilbert(transformers.DistilBertForMaskedLM),
    "distilbert_of_texts": lambda: distilbert(transformers.DistilBertModel),
    "modernbert": lambda: modern(transformers.ModernBertForMaskedLM),
    "modernbert_of_texts": lambda: modern(transformers.ModernBertModel),
    "modernbert_with_biases": lambda: modern(
        transformers.ModernBertForMaskedLM,
        attention_bias=True,
        mlp_bias=True,
        norm_bias=True,
        classifier_bias=True,
        layer_types=["full_attention", "sliding_attention"] * 2,
    ),
}
MASKED = [name for name in MEMBERS if not name.endswith("_of_texts")]


@torch.no_grad()
def unsettle(model):
    """Give every parameter, gains and biases too, values that a mistake would show in logits of some size."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_(noise * 0.3 + (0.0 if name.endswith("bias") else 1.0))
        else:
            parameter.copy_(noise * (0.4 if VOCABULARY in parameter.shape else parameter.shape[-1] ** -0.5))
    return model.eval()


@pytest.fixture(params=MEMBERS, scope="module")
def pair(request, tmp_path_factory):
    """The reference, our network opened from the folder that it saved, that folder, and whether it says tokens."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = unsettle(MEMBERS[request.param]())
    theirs.save_pretrained(folder)
    return theirs, open_folder(folder).network(), folder, request.param in MASKED


@pytest.fixture
def tokens():
    return torch.randint(3, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(5))


def said(theirs, tokens, **given):
    """Return what a reference says of each place: logits, or its last stream where it has no head."""
    answer = theirs(tokens, **given)
    for name in ("prediction_logits", "logits", "last_hidden_state"):
        if name in answer:
            return answer[name]
    raise AssertionError(answer.keys())


def ours_say(ours, hidden, masked):
    return ours.predict(hidden) if masked else hidden


def equal(found, expected, least=1.0):
    assert expected.std() >= least
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_no_parameter_is_at_rest(pair):
    for name, parameter in pair[1].named_parameters():
        assert parameter.std() > 0.05, name


@torch.no_grad()
def test_what_is_said_of_each_place_is_equal(pair, tokens):
    theirs, ours, _, masked = pair
    equal(ours_say(ours, ours(tokens), masked), said(theirs, tokens))


@torch.no_grad()
def test_it_is_equal_with_padding(pair, tokens):
    theirs, ours, _, masked = pair
    lengths = torch.tensor([TIME, 23, 1])
    real = torch.arange(TIME) < lengths[:, None]
    # RoBERTa's reference counts places by what is no padding.
    padded = tokens.masked_fill(~real, theirs.config.pad_token_id)
    expected = said(theirs, padded, attention_mask=real.long())[real]
    equal(ours_say(ours, ours(padded, lengths), masked)[real], expected, least=1.0 if masked else 0.9)


@torch.no_grad()
def test_pooled_answers_and_types_are_equal(tmp_path, tokens):
    theirs = unsettle(MEMBERS["bert_of_pairs"]())
    theirs.save_pretrained(tmp_path)
    ours = open_folder(tmp_path).network()
    types = (torch.arange(TIME) > 11).long().expand(3, -1)
    answer = theirs(tokens, token_type_ids=types)
    hidden = ours(tokens, types=types)
    equal(ours.predict(hidden), answer.prediction_logits)
    torch.testing.assert_close(
        ours.tell("next_sentence", hidden), answer.seq_relationship_logits, rtol=0, atol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ["bert_of_texts", "roberta_of_texts"])
def test_the_pooled_stream_is_equal(name, tokens, tmp_path):
    theirs = unsettle(MEMBERS[name]())
    theirs.save_pretrained(tmp_path)
    ours = open_folder(tmp_path).network()
    equal(ours.pooled(ours(tokens)), theirs(tokens).pooler_output, least=0.5)


@torch.no_grad()
def test_written_folders_open_in_transformers(pair, tokens, tmp_path):
    theirs, ours, _, masked = pair
    family = write_folder(tmp_path, ours.config, ours.vocab_size, weights(ours), shard_bytes=60_000)
    # A RoBERTa is a BERT of one type, whose positions do not depend on which id is padding.
    assert family.model_type == theirs.config.model_type.replace("roberta", "bert")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    kind = getattr(transformers, json.loads((tmp_path / "config.json").read_text())["architectures"][0])
    assert kind.__name__ == type(theirs).__name__.replace("Roberta", "Bert")
    opened, told = kind.from_pretrained(tmp_path, attn_implementation="eager", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    equal(said(opened.eval(), tokens), said(theirs, tokens))
    again = open_folder(tmp_path)
    assert again.config == ours.config
    equal(ours_say(again.network(), again.network()(tokens), masked), said(theirs, tokens))


def test_reading_then_writing_changes_no_name_and_no_number(pair):
    _, ours, folder, _ = pair
    published = open_folder(folder)
    held = published.tensors
    written = published.family.key_map(ours.config).write({one.name: one.make() for one in published.named()})
    names = {one.name for one in written}
    assert names <= set(held.shapes)
    assert not set(held.shapes) - names
    for one in written:
        unread = 2 if "position_embeddings" in one.name and published.family.model_type == "roberta" else 0
        assert torch.equal(one.make()[unread:], held.read(one.name)[unread:]), one.name


def changed(folder, **given):
    file = folder / "config.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, **given}))


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (
            "bert",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type='relative_key' is not",
        ),
        ("bert", {"is_decoder": True}, "is_decoder=True is not supported"),
        ("bert", {"hidden_act": "relu"}, "hidden_act='relu' is not supported"),
        ("roberta", {"pad_token_id": 5}, "pad_token_id=5 is not supported"),
        ("distilbert", {"activation": "silu"}, "activation='silu' is not supported"),
        ("modernbert", {"layer_types": ["full_attention"] * 3 + ["sliding_attention"]}, "layer_types="),
        ("modernbert", {"decoder_bias": False}, "decoder_bias=False is not supported"),
        ("bert", {"invented": 3}, "invented=3 is not supported"),
    ],
)
def test_what_is_not_known_is_refused_by_name(name, given, said, tmp_path):
    MEMBERS[name]().save_pretrained(tmp_path)
    changed(tmp_path, **given)
    with pytest.raises(ValueError, match=said):
        open_folder(tmp_path)


def test_a_head_for_classes_is_refused_by_its_tensor(tmp_path):
    bert(transformers.BertForSequenceClassification, num_labels=3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds classifier\.(weight|bias), which rootlm has no place for"):
        open_folder(tmp_path).network()


def test_an_encoder_without_a_head_fills_no_gaps(tmp_path):
    MEMBERS["bert_of_texts"]().save_pretrained(tmp_path)
    ours = open_folder(tmp_path).network()
    with pytest.raises(ValueError, match="no head that says tokens"):
        ours.predict(torch.zeros(1, 2, 48))


def test_names_of_older_files_are_known(tmp_path):
    from safetensors.torch import load_file, save_file

    theirs = unsettle(MEMBERS["bert"]())
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): one
        for name, one in load_file(file).items()
    }
    save_file(old, file)
    tokens = torch.randint(3, VOCABULARY, (2, 9))
    ours = open_folder(tmp_path).network()
    equal(ours.predict(ours(tokens)), theirs(tokens).logits)


def test_every_encoder_of_ours_is_refused_or_comes_back():
    from encoders import ENCODERS
    from rootlm.models.foreign.registry import family_for

    for config in ENCODERS.values():
        try:
            family = family_for(config, VOCABULARY)
        except ValueError as error:
            assert "no Hugging Face family has this network" in str(error)
        else:
            assert family in FAMILIES.values()
