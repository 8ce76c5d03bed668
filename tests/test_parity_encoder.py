"""What encoders compute equals transformers in float32, read from its folders and written to ours."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from encoder_families import CONTEXT, MEMBERS, VOCABULARY, build
from rootlm.models.catalog import weights
from rootlm.models.foreign.hugging_face_folder import open_folder, write_folder
from rootlm.models.foreign.registry import FAMILIES

TIME = 40
TYPED = ("bert", "bert_with_everything", "bert_without_output", "roberta")
"""Members that know the first text of a pair from the second."""


@pytest.fixture(params=MEMBERS, scope="module")
def pair(request, tmp_path_factory):
    """The reference, our network opened from the folder that it saved, and that folder."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = build(request.param)
    theirs.save_pretrained(folder)
    return theirs, open_folder(folder).network(), folder


@pytest.fixture
def tokens():
    # 0 and 1 fill rows in one family or another, and are counted otherwise there.
    return torch.randint(2, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(5))


def said(theirs, tokens, lengths=None, types=None):
    """Return the last stream, the logits and the pooled stream that transformers gives, None for what it has not."""
    more = {} if types is None else {"token_type_ids": types}
    if lengths is not None:
        more["attention_mask"] = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
    base = theirs.base_model(tokens, **more)
    whole = theirs(tokens, **more)
    logits = whole.get("logits", whole.get("prediction_logits"))
    return base.last_hidden_state, logits, base.get("pooler_output")


def equal(found, expected, least=1.0):
    assert expected.std() >= least
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_no_parameter_is_at_rest(pair):
    for name, parameter in pair[1].named_parameters():
        assert parameter.std() > 0.05, name


@torch.no_grad()
def test_stream_and_logits_are_equal(pair, tokens):
    theirs, ours, _ = pair
    stream, logits, pooled = said(theirs, tokens)
    found = ours(tokens)
    equal(found, stream)
    if logits is None:
        with pytest.raises(ValueError, match="this encoder has no output over tokens"):
            ours.predict(found)
    else:
        equal(ours.predict(found), logits)
    if pooled is not None:
        # A tangent has no larger deviation.
        equal(ours.pooled(found), pooled, least=0.4)


@torch.no_grad()
def test_they_are_equal_with_padding(pair, tokens):
    theirs, ours, _ = pair
    lengths = torch.tensor([TIME, 23, 1])
    real = torch.arange(TIME) < lengths[:, None]
    padded = torch.where(real, tokens, theirs.config.pad_token_id)
    stream, logits, _ = said(theirs, padded, lengths)
    found = ours(tokens, lengths)
    equal(found[real], stream[real])
    if logits is not None:
        equal(ours.predict(found)[real], logits[real])


@torch.no_grad()
def test_they_are_equal_up_to_the_last_place(pair):
    theirs, ours, _ = pair
    assert ours.context == CONTEXT
    tokens = torch.randint(2, VOCABULARY, (1, CONTEXT), generator=torch.Generator().manual_seed(6))
    equal(ours(tokens), said(theirs, tokens)[0])
    with pytest.raises(ValueError, match="65 tokens do not fit a context of 64"):
        ours(torch.cat([tokens, tokens[:, :1]], 1))


@torch.no_grad()
@pytest.mark.parametrize("pair", TYPED, indirect=True)
def test_kinds_of_places_and_pairs_are_equal(pair, tokens):
    theirs, ours, _ = pair
    types = (torch.arange(TIME) > 11).long().expand(3, -1)
    found = ours(tokens, types=types)
    equal(found, said(theirs, tokens, types=types)[0])
    if "next_sentence" in ours.config.heads:
        # Their first answer is that the second text follows, ours the second.
        expected = theirs(tokens, token_type_ids=types).seq_relationship_logits.flip(-1)
        torch.testing.assert_close(ours.tell("next_sentence", found), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_written_folders_open_in_transformers(pair, tokens, tmp_path):
    theirs, ours, _ = pair
    family = write_folder(tmp_path, ours.config, ours.vocab_size, weights(ours), shard_bytes=40_000)
    name = family.class_of(ours.config)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [name]
    opened, told = getattr(transformers, name).from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    for found, expected in zip(said(opened.eval(), tokens), said(theirs, tokens), strict=True):
        assert (found is None) == (expected is None)
        if expected is not None:
            equal(found, expected, least=0.4)
    again = open_folder(tmp_path)
    assert again.config == ours.config
    torch.testing.assert_close(again.network()(tokens), ours(tokens))


def test_reading_then_writing_changes_no_name_and_no_number(pair):
    theirs, ours, folder = pair
    published = open_folder(folder)
    family = FAMILIES[theirs.config.model_type]
    held = load_file(folder / "model.safetensors")
    names = family.names(held)
    written = family.key_map(ours.config).write({one.name: one.make() for one in published.named()})
    assert {one.name for one in written} == set(names)
    for one in written:
        assert torch.equal(one.make(), held[names[one.name]]), one.name


@torch.no_grad()
def test_files_as_they_were_first_written_are_read(pair, tokens, tmp_path):
    """Other names of norms, a bias held twice, tables of places, a tied matrix."""
    theirs, ours, folder = pair
    tensors = load_file(folder / "model.safetensors")
    old = {}
    for name, tensor in tensors.items():
        spelled = name.replace(".weight", ".gamma").replace(".bias", ".beta") if "LayerNorm" in name else name
        old[spelled] = tensor
    for one, other in (("cls.predictions", "cls.predictions.decoder"), ("lm_head", "lm_head.decoder")):
        if f"{one}.bias" in old:
            # Where both are there, the first name is the one that counts.
            old[f"{other}.bias"] = torch.zeros_like(old[f"{one}.bias"])
            old[f"{other}.weight"] = theirs.get_input_embeddings().weight.detach().clone()
    stem = theirs.base_model_prefix
    if "bert.embeddings.word_embeddings.weight" in old:
        old[f"{stem}.embeddings.position_ids"] = torch.arange(CONTEXT)[None]
    save_file(old, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.testing.assert_close(open_folder(tmp_path).network()(tokens), ours(tokens))
