"""Logits of every family equal those of transformers in float32, read from its folders and written to ours."""

import json

import pytest
import torch
import transformers
from torch.nn import functional as F

from foreign_families import CONTEXT, MEMBERS, VOCABULARY, WINDOW, build
from rootlm.models.catalog import weights
from rootlm.models.foreign.hugging_face_folder import open_folder, write_folder
from rootlm.models.interface import Last, Targets

TIME = 40
READ_DEPENDENT = ("llama_dynamic", "phi3_long")
"""What the beginning says depends on how much is read at once."""


@pytest.fixture(params=MEMBERS, scope="module")
def pair(request, tmp_path_factory):
    """The reference, our network opened from the folder that it saved, and that folder."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = build(request.param)
    theirs.save_pretrained(folder)
    return theirs, open_folder(folder).network(), folder


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(5))


def equal(found, expected):
    assert expected.std() >= 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_no_parameter_is_at_rest(pair):
    for name, parameter in pair[1].named_parameters():
        assert parameter.std() > 0.05, name


@torch.no_grad()
def test_logits_are_equal(pair, tokens):
    theirs, ours, _ = pair
    equal(ours(tokens).values, theirs(tokens).logits)


@torch.no_grad()
def test_logits_are_equal_with_padding(pair, tokens, request):
    theirs, ours, _ = pair
    lengths = torch.tensor([TIME, 23, 1])
    real = torch.arange(TIME) < lengths[:, None]
    if request.node.callspec.params["pair"] in READ_DEPENDENT:
        # There the longest row moves the others, and those read later; here each is as it would be alone.
        alone = []
        for row, length in zip(tokens, lengths, strict=True):
            theirs(row[None, :1])  # which lets it forget longer ones
            alone.append(theirs(row[None, :length]).logits[0])
        expected = torch.nn.utils.rnn.pad_sequence(alone, batch_first=True)
    else:
        expected = theirs(tokens, attention_mask=real.long()).logits
    equal(ours(tokens, lengths=lengths).values[real], expected[real])
    last = ours(tokens, lengths=lengths, ask=Last(1)).values[:, 0]
    torch.testing.assert_close(last, expected[torch.arange(3), lengths - 1], rtol=0, atol=1e-4)


@torch.no_grad()
def test_logits_are_equal_with_a_cache(pair, tokens, request):
    theirs, ours, _ = pair
    cache, state = None, ours.begin(3)
    for start, end in ((0, 11), (11, 12), (12, 13), (13, 30), (30, TIME)):
        answer = theirs(tokens[:, start:end], past_key_values=cache, use_cache=True)
        cache, expected = answer.past_key_values, answer.logits
        if request.node.callspec.params["pair"] == "phi3_long":
            # Its `generate` reads all again when the text becomes long; a bare cache does not.
            expected = theirs(tokens[:, :end]).logits[:, start:]
        values, state = ours(tokens[:, start:end], state)[:2]
        equal(values, expected)


@torch.no_grad()
def test_logits_are_equal_after_ragged_prompts(pair, tokens, request):
    """Rows of unlike length read on together, each as it would alone."""
    theirs, ours, _ = pair
    if request.node.callspec.params["pair"] == "llama_dynamic":
        tokens = tokens[:, :15]
    lengths = torch.tensor([9, 4, 1])
    state = ours(tokens[:, :9], ours.begin(3), lengths=lengths).state
    values = ours(tokens[:, 9:], state).values
    for row, length in enumerate(lengths):
        alone = torch.cat([tokens[row, :length], tokens[row, 9:]])[None]
        equal(values[row], theirs(alone).logits[0, length:])


@torch.no_grad()
@pytest.mark.parametrize("pair", ["phi3_long"], indirect=True)
def test_long_texts_turn_as_a_whole_however_they_are_read(pair, tokens):
    """Alone, behind another text, in parts, and after going back."""
    theirs, ours, _ = pair
    one, two = tokens[:1], tokens[1:2, :20]
    packed = torch.cat([two, one], 1)
    segments = torch.cat([torch.zeros_like(two), torch.ones_like(one)], 1)
    expected = torch.cat([theirs(two).logits, theirs(one).logits], 1)
    equal(ours(packed, segments=segments).values, expected)
    state = ours(packed[:, :30], ours.begin(1), segments=segments[:, :30]).state
    equal(ours(packed[:, 30:], state, segments=segments[:, 30:]).values, expected[:, 30:])
    state = ours(one, ours.begin(1)).state.rewind(torch.tensor([15]))
    equal(ours(one[:, 25:31], state).values, theirs(one[:, :31]).logits[:, 25:])
    rows = torch.tensor([2, 0, 2])
    state = ours(tokens[:, :25], ours.begin(3)).state
    state = state.select(rows).join(ours(tokens[:1, :7], ours.begin(1)).state)
    more = tokens[[0, 1, 2, 0], 25:]
    read = [*torch.cat([tokens[rows, :25], more[:3]], 1), torch.cat([tokens[0, :7], more[3]])]
    for found, text in zip(ours(more, state).values, read, strict=True):
        equal(found, theirs(text[None]).logits[0, -len(found) :])
    said = one[:, :25]
    written = theirs.generate(said, max_new_tokens=15, do_sample=False, eos_token_id=None, pad_token_id=0)
    values, state = ours(said, ours.begin(1))[:2]
    for _ in range(15):
        token = values[:, -1:].argmax(-1)
        said = torch.cat([said, token], 1)
        values, state = ours(token, state)[:2]
    assert said.tolist() == written.tolist()


@torch.no_grad()
def test_written_folders_open_in_transformers(pair, tokens, tmp_path):
    theirs, ours, _ = pair
    write_folder(tmp_path, ours.config, ours.vocab_size, weights(ours), shard_bytes=60_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    opened, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    equal(opened.eval()(tokens).logits, theirs(tokens).logits)
    again = open_folder(tmp_path)
    assert again.config == ours.config or again.family.model_type != theirs.config.model_type
    equal(again.network()(tokens).values, theirs(tokens).logits)


def test_reading_then_writing_changes_no_name_and_no_number(pair, tmp_path):
    _, ours, folder = pair
    from rootlm.models.foreign.registry import FAMILIES

    published = open_folder(folder)
    family = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]
    held = published.tensors
    written = family.key_map(ours.config).write({one.name: one.make() for one in published.named()})
    names = {one.name for one in written}
    assert names <= set(held.shapes)
    assert all(name == "lm_head.weight" for name in set(held.shapes) - names)
    for one in written:
        assert torch.equal(one.make(), held.read(one.name)), one.name


def test_loss_and_gradients_are_equal(pair, tokens):
    theirs, ours, _ = pair
    expected = F.cross_entropy(theirs(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    ours.zero_grad()
    theirs.zero_grad()
    expected.backward()
    asked = Targets(F.pad(tokens[:, 1:], (0, 1), value=-1))
    found = ours(tokens, ask=asked).values.sum() / tokens[:, 1:].numel()
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    names = ("wte.weight", "embed_tokens.weight", "embed_in.weight")
    table = next(p for name, p in theirs.named_parameters() if name.endswith(names))
    scale = table.grad.abs().max()
    torch.testing.assert_close(ours.embedding.weight.grad, table.grad, rtol=1e-3, atol=float(1e-4 * scale))


@torch.no_grad()
def test_the_window_hides_what_lies_beyond(tokens, tmp_path):
    theirs = build("mistral")
    theirs.save_pretrained(tmp_path)
    ours = open_folder(tmp_path).network()
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % VOCABULARY
    # Three layers of a window of 7 see 19 tokens in all.
    beyond = 3 * (WINDOW - 1) + 1
    for model, read in ((ours, lambda x: ours(x).values), (theirs, lambda x: theirs(x).logits)):
        assert not torch.allclose(read(changed)[:, beyond - 1], read(tokens)[:, beyond - 1])
        assert torch.equal(read(changed)[:, beyond:], read(tokens)[:, beyond:]), model


def test_the_context_is_what_the_config_says(tmp_path):
    for name, context in (("llama", CONTEXT), ("llama_dynamic", 64), ("llama_yarn", 64)):
        build(name).save_pretrained(tmp_path)
        assert open_folder(tmp_path).config.context == context


@torch.no_grad()
def test_attention_equals_torch_on_every_path():
    """The dense path, the fused one and torch's own formula, with shared heads and with a mask."""
    from rootlm.layers import dense_attention

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 12, 8) for heads in (4, 2, 2))
    mask = torch.zeros(2, 1, 12, 12).masked_fill(torch.rand(2, 1, 12, 12) < 0.3, float("-inf"))
    mask[..., 0] = 0
    for given, is_causal in ((None, True), (mask, False), (None, False)):
        expected = F.scaled_dot_product_attention(
            q, k, v, attn_mask=given, is_causal=is_causal, enable_gqa=True
        )
        with torch.enable_grad():
            dense = dense_attention.attend(q.requires_grad_(), k, v, given, is_causal=is_causal).detach()
        fused = dense_attention.attend(q.detach(), k, v, given, is_causal=is_causal)
        wide = dense_attention.attend_capped(q, k, v, given, is_causal=is_causal, softcap=1e4)
        torch.testing.assert_close(dense, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(wide, expected, rtol=1e-5, atol=1e-5)
