"""Published encoder–decoders say the same here: logits, with padding and with a cache, and greedy texts; both ways."""

import json

import pytest
import torch
import transformers

from foreign_pairs import END, MEMBERS, START, VOCABULARY, build
from rootlm.models.catalog import weights
from rootlm.models.foreign.hugging_face_folder import open_folder, write_folder
from rootlm.models.foreign.registry import FAMILIES
from rootlm.models.interface import Last, Source

LENGTHS = torch.tensor([23, 9, 1])


@pytest.fixture(params=MEMBERS, scope="module")
def pair(request, tmp_path_factory):
    """The reference, our network opened from the folder that it saved, and that folder."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = build(request.param)
    theirs.save_pretrained(folder)
    return theirs, open_folder(folder).network(), folder


@pytest.fixture
def texts():
    """Sources, their attention mask, targets."""
    generator = torch.Generator().manual_seed(5)
    mask = (torch.arange(23) < LENGTHS[:, None]).long()
    source = torch.randint(3, 70, (3, 23), generator=generator)
    return source, mask, torch.randint(0, VOCABULARY, (3, 19), generator=generator)


def equal(found, expected):
    assert expected.std() >= 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def logits(theirs, texts):
    source, mask, target = texts
    return theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits


@torch.no_grad()
def test_no_parameter_is_at_rest(pair):
    for name, parameter in pair[1].named_parameters():
        assert parameter.std() > 0.02, name


@torch.no_grad()
def test_logits_are_equal_with_padded_sources(pair, texts):
    theirs, ours, _ = pair
    source, _, target = texts
    equal(ours(target, source=Source(source, LENGTHS)).values, logits(theirs, texts))


@torch.no_grad()
def test_logits_are_equal_token_by_token(pair, texts):
    theirs, ours, _ = pair
    source, _, target = texts
    state, said = ours.read(source, LENGTHS), []
    for place in range(target.shape[1]):
        values, state = ours(target[:, place : place + 1], state, ask=Last())[:2]
        said.append(values)
    equal(torch.cat(said, 1), logits(theirs, texts))


@torch.no_grad()
def test_greedy_texts_are_those_of_transformers(pair, texts):
    theirs, ours, _ = pair
    source, mask, _ = texts
    expected = theirs.generate(
        input_ids=source, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=20
    )
    state, token, said = ours.read(source, LENGTHS), torch.full((3, 1), START), []
    for _ in range(expected.shape[1] - 1):
        values, state = ours(token, state, ask=Last())[:2]
        token = values[:, -1:].argmax(-1)
        said.append(token)
    for row, found in zip(expected[:, 1:].tolist(), torch.cat(said, 1).tolist(), strict=True):
        size = row.index(END) + 1 if END in row else len(row)
        assert found[:size] == row[:size]


@torch.no_grad()
def test_written_folders_open_in_transformers(pair, texts, tmp_path):
    theirs, ours, _ = pair
    write_folder(tmp_path, ours.config, ours.vocab_size, weights(ours), shard_bytes=60_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    opened, told = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    equal(logits(opened.eval(), texts), logits(theirs, texts))
    again = open_folder(tmp_path)
    assert again.config == ours.config or again.family.model_type != theirs.config.model_type
    equal(again.network()(texts[2], source=Source(texts[0], LENGTHS)).values, logits(theirs, texts))


def test_reading_then_writing_changes_no_name_and_no_number(pair):
    _, ours, folder = pair
    published = open_folder(folder)
    family = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]
    held = published.tensors
    written = family.key_map(ours.config).write({one.name: one.make() for one in published.named()})
    assert {one.name for one in written} == set(held.shapes)
    for one in written:
        if "embed_positions" in one.name:  # two rows that no token reads
            assert torch.equal(one.make()[2:], held.read(one.name)[2:]), one.name
        else:
            assert torch.equal(one.make(), held.read(one.name)), one.name
