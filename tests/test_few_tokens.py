"""The compiled kernel says what the plain way says; where it cannot, the plain way is taken."""

from copy import deepcopy

import pytest
import torch

from members import CONFIGS, CONTEXT, MEMBERS, VOCABULARY, randomise
from rootlm.layers import teams
from rootlm.layers.attention import AttentionConfig
from rootlm.layers.linear import Linear
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import NoPositionConfig, RotaryConfig
from rootlm.layers.rotary_scaling import DynamicScaling
from rootlm.models.decoder import DecoderConfig
from rootlm.models.interface import All, Last, Targets

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
_ODD = {"depth": 2, "hidden_size": 30, "n_heads": 3, "head_size": 14, "context": CONTEXT}
KNOWN = {
    "llama": CONFIGS["llama"],
    "qwen3": CONFIGS["qwen3"],
    "grouped": CONFIGS["grouped"],
    "stretched": CONFIGS["stretched"],
    "window": CONFIGS["window"],
    "some_windows": DecoderConfig(
        preset="llama",
        attention=AttentionConfig(window=3, bias=True, out_bias=False),
        full_layers=(1,),
        **_ODD,
    ),
    "unordered": DecoderConfig(preset="llama", position=NoPositionConfig(), **_ODD),
    "odd": DecoderConfig(preset="llama", n_kv_heads=1, attention=AttentionConfig(qk_norm=True), **_ODD),
}
OTHERS = ["gpt2", "alibi", "sinusoidal", "no_positions", "mixture", "parallel", "around", "after"]


def built(name, dtype=torch.float32):
    """Return the model twice: with the kernel from the first token, and without it."""
    kernel, plain = (randomise(KNOWN[name].build(VOCABULARY + 1)).to(dtype).eval() for _ in range(2))
    plain.few_tokens = Never()
    return kernel, plain


class Never:
    def read(self, *given):
        return None

    def suits(self, model, rows):
        return False


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (1, 30), generator=torch.Generator().manual_seed(2))


def step(model, token, state, ask=Last()):  # noqa: B008 - frozen
    """Read one token; returns its logits and the state."""
    values, state, *_ = model(token.view(1, 1), state, ask=ask)
    return values, state


@pytest.mark.parametrize("name", KNOWN)
@torch.inference_mode()
def test_from_nothing_token_by_token(name, tokens):
    kernel, plain = built(name)
    state, expected = kernel.begin(1, capacity=4), plain(tokens).values
    for place in range(tokens.shape[1]):
        values, state = step(kernel, tokens[0, place], state, All() if place % 2 else Last())
        torch.testing.assert_close(values[0], expected[0, place : place + 1], **CLOSE)
    assert kernel.few_tokens.steps == tokens.shape[1] == state.filled == int(state.lengths)


@pytest.mark.parametrize("name", KNOWN)
@torch.inference_mode()
def test_after_reading_choosing_and_rewinding(name, tokens):
    kernel, plain = built(name)
    answers = []
    for model in (kernel, plain):
        state = model(tokens.view(2, 15)[:, :9], model.begin(2)).state.select(torch.tensor([1]))
        first, state = step(model, tokens[0, 3], state)
        second, state = step(model, tokens[0, 4], state.select(torch.tensor([0])))
        third, state = step(model, tokens[0, 5], state.rewind(torch.tensor([2])))
        rest = model(tokens[:, :7], state)
        last, state = step(model, tokens[0, 6], rest.state)
        answers.append(torch.cat([first, second, third, rest.values, last], 1))
    assert kernel.few_tokens.steps == 5
    torch.testing.assert_close(*answers, **CLOSE)


@torch.inference_mode()
def test_bfloat16_weights_are_read_exactly(tokens):
    kernel, plain = built("grouped", torch.bfloat16)
    expected, state = plain.float()(tokens).values, kernel.begin(1)
    state.keys, state.values = state.keys.float(), state.values.float()
    for place in range(tokens.shape[1]):
        values, state = step(kernel, tokens[0, place], state)
        torch.testing.assert_close(values[0], expected[0, place : place + 1], **CLOSE)


@torch.inference_mode()
def test_bfloat16_keys_are_the_nearest_to_the_exact_ones(tokens):
    kernel, _ = built("grouped", torch.bfloat16)
    state, exact = kernel.begin(1), kernel.begin(1)
    exact.keys, exact.values = exact.keys.float(), exact.values.float()
    assert state.keys.dtype == torch.bfloat16
    for held in (state, exact):
        step(kernel, tokens[0, 0], held)
    # What the first layer keeps follows from the token alone.
    for name in ("keys", "values"):
        assert getattr(exact, name)[0].any()
        assert torch.equal(getattr(state, name)[0], getattr(exact, name)[0].bfloat16())
    for token in tokens[0, 1:]:
        (values, state), (others, exact) = step(kernel, token, state), step(kernel, token, exact)
        torch.testing.assert_close(values, others, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", KNOWN)
@torch.inference_mode()
def test_a_row_is_the_same_to_the_last_bit_among_any_others(name, dtype, tokens, monkeypatch):
    kernel, plain = built(name, dtype)
    sizes = [3, 1, 7, 2, 5, 4, 1]
    written = tokens[0, : 3 * len(sizes)].view(3, -1)

    def state(model, rows):
        """Read each row's prompt alone: what it was read with is another question."""
        read = [model(tokens[:, : sizes[row]], model.begin(1, capacity=8)).state for row in rows]
        joined = read[0]
        for other in read[1:]:
            joined = joined.join(other)
        return joined

    def write(model, rows):
        held, said = state(model, rows), []
        for column in written[:, rows]:
            values, held, *_ = model(column[:, None], held, ask=Last())
            said.append(values)
        return torch.cat(said, 1)

    together = write(kernel, range(len(sizes)))
    exact = write(plain.float(), range(len(sizes)))
    assert (together - exact).norm() <= (1e-5 if dtype == torch.float32 else 0.02) * exact.norm()
    for row in range(len(sizes)):
        assert torch.equal(write(kernel, [row])[0], together[row]), row
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(write(kernel, range(len(sizes))), together)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", KNOWN)
@torch.inference_mode()
def test_tokens_read_at_once_are_those_read_one_by_one_to_the_last_bit(name, dtype, tokens, monkeypatch):
    kernel, _ = built(name, dtype)
    one_by_one = kernel.begin(2, capacity=4)
    said = []
    for column in tokens.view(2, 15).T[:12]:
        values, one_by_one, *_ = kernel(column[:, None], one_by_one, ask=Last())
        said.append(values)
    expected, at_once = torch.cat(said, 1), kernel.begin(2, capacity=4)
    for threads, (start, end) in zip((1, 2, 3), ((0, 4), (4, 8), (8, 12)), strict=True):
        monkeypatch.setattr(teams, "size", lambda threads=threads: threads)
        values, at_once, *_ = kernel(tokens.view(2, 15)[:, start:end], at_once, ask=All())
        assert torch.equal(values, expected[:, start:end]), start
    assert kernel.few_tokens.steps == 15
    assert torch.equal(at_once.keys[:, :, :, :12], one_by_one.keys[:, :, :, :12])
    assert torch.equal(at_once.lengths, one_by_one.lengths) and at_once.filled == 12


@pytest.mark.parametrize("ask", [All(), Last()], ids=str)
@torch.inference_mode()
def test_rows_of_unequal_length_are_read_at_once(ask, tokens):
    kernel, plain = built("grouped")
    given, lengths = tokens.view(2, 15)[:, :4], torch.tensor([4, 2])
    answers = []
    for model in (kernel, plain):
        first = model(given, model.begin(2), lengths=lengths, ask=ask)
        second = model(given[:, :3], first.state, lengths=torch.tensor([1, 3]), ask=ask)
        assert second.state.lengths.tolist() == [5, 5] and second.state.ragged is False
        last = model(given[:, :1], second.state)
        answers.append((first.values, second.values, last.values))
    assert kernel.few_tokens.steps == 3
    for found, expected in zip(*answers, strict=True):
        assert found.shape == expected.shape
        counted = found.any(-1, keepdim=True) if ask == All() else 1  # what stands for no token says nothing
        torch.testing.assert_close(found, expected * counted, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["grouped", "odd"])
@torch.inference_mode()
def test_threads_that_share_heavy_matrices_change_no_bit(name, dtype, tokens, monkeypatch):
    kernel, _ = built(name, dtype)

    def write(threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(teams, "size", lambda: threads)
        state, said = kernel.begin(3, capacity=2), []
        for column in tokens.view(3, 10).T:
            values, state, *_ = kernel(column[:, None], state, ask=Last())
            said.append(values)
        return torch.cat(said, 1), state.keys

    light = write(1)
    kernel.few_tokens.cached_bytes, kernel.few_tokens._found = 0, None
    for threads in (1, 2, 3):
        for one, other in zip(write(threads), light, strict=True):
            assert torch.equal(one, other), threads
    assert kernel.few_tokens.steps == 40


@torch.no_grad()
def test_changed_weights_are_used_at_once(tokens):
    kernel, plain = built("llama")
    step(kernel, tokens[0, 0], kernel.begin(1))
    for model in (kernel, plain):
        model.blocks[1].feedforward.up.weight.mul_(2)
    changed = [step(model, tokens[0, 0], model.begin(1))[0] for model in (kernel, plain)]
    torch.testing.assert_close(*changed, **CLOSE)
    for model in (kernel, plain):
        model.blocks[0].attention.qkv.weight = torch.nn.Parameter(
            model.blocks[0].attention.qkv.weight.flip(0).contiguous()
        )
        model.norm.weight.data = model.norm.weight.data * 3
    moved = [step(model, tokens[0, 0], model.begin(1))[0] for model in (kernel, plain)]
    torch.testing.assert_close(*moved, **CLOSE)
    assert not torch.allclose(changed[0], moved[0], **CLOSE)
    assert kernel.few_tokens.steps == 3


@pytest.mark.parametrize("name", OTHERS)
@torch.inference_mode()
def test_other_networks_take_the_plain_way(name, tokens):
    model = MEMBERS[name]()
    assert model.few_tokens.read(model, tokens[:, :1], model.begin(1), None, Last()) is None
    assert model.few_tokens.steps == 0


def test_other_questions_take_the_plain_way(tokens):
    model, _ = built("llama")
    one = tokens[:, :1]
    with torch.no_grad():
        segmented = model(one, model.begin(1), segments=torch.ones_like(one)).state
        for given, state, ask in [
            (one, None, Last()),
            (one, segmented, Last()),
            (one, model.begin(1), Targets(one)),
            (one.expand(2, 1), model.begin(1), Last()),
            (tokens, model.begin(1), Last()),
        ]:
            assert model.few_tokens.read(model, given, state, None, ask) is None
        model.stream_dtype = torch.bfloat16
        assert model.few_tokens.read(model, one, model.begin(1), None, Last()) is None
        model.stream_dtype = None
        dropping = DecoderConfig(**{**dict(KNOWN["llama"]), "dropout": 0.5}).build(VOCABULARY)
        assert dropping.few_tokens.read(dropping, one, dropping.begin(1), None, Last()) is None
        assert dropping.eval().few_tokens.read(dropping, one, dropping.begin(1), None, Last()) is not None
        with pytest.raises(IndexError):
            model(one + VOCABULARY + 1, model.begin(1))
    assert model(one, model.begin(1)).values.requires_grad
    assert model.few_tokens.steps == 0


@torch.inference_mode()
def test_many_rows_of_heavy_weights_and_turned_ones_take_the_plain_way(tokens):
    heavy, turned = (built("llama")[0] for _ in range(2))
    heavy.few_tokens.cached_bytes, heavy.few_tokens.most = 1000, 0
    turned.head.weight.data = turned.head.weight.data.t().contiguous().t()
    for model in (heavy, turned):
        assert model.few_tokens.read(model, tokens[:, :1], model.begin(1), None, Last()) is None


@torch.inference_mode()
def test_a_copy_reads_its_own_weights(tokens):
    kernel, _ = built("qwen3")
    step(kernel, tokens[0, 0], kernel.begin(1))
    copy = deepcopy(kernel)
    kernel.head.weight.zero_()
    values, _ = step(copy, tokens[0, 0], copy.begin(1))
    torch.testing.assert_close(values, copy(tokens[:, :1]).values, **CLOSE)
    assert values.any() and copy.few_tokens.steps == kernel.few_tokens.steps + 1


@torch.inference_mode()
def test_a_part_in_anothers_place_takes_the_plain_way(tokens):
    class Doubled(Linear):
        def forward(self, given):
            return 2 * super().forward(given)

    replaced, shorter, normed = (built("llama")[0] for _ in range(3))
    down = replaced.blocks[0].feedforward.down
    replaced.blocks[0].feedforward.down = Doubled(down.in_features, down.out_features, bias=False)
    shorter.blocks = shorter.blocks[:1]
    torch.nn.utils.parametrizations.weight_norm(normed.head)
    for model in (replaced, shorter, normed):
        values, _ = step(model, tokens[0, 0], model.begin(1))
        torch.testing.assert_close(values, model(tokens[:, :1]).values, **CLOSE)
        assert model.few_tokens.steps == 0


@torch.inference_mode()
def test_a_matrix_that_was_turned_where_it_lies_takes_the_plain_way(tokens):
    model, _ = built("llama")
    step(model, tokens[0, 0], model.begin(1))
    square = model.blocks[0].attention.out
    assert square.weight.shape[0] == square.weight.shape[1]
    square.weight.data = square.weight.data.t()
    values, _ = step(model, tokens[0, 0], model.begin(1))
    torch.testing.assert_close(values, model(tokens[:, :1]).values, **CLOSE)


@pytest.mark.parametrize(
    "unknown",
    [
        {"order": "after"},
        {"order": "parallel"},
        {"embedding_scale": 2.0},
        {"logit_softcap": 2.0},
        {"norm": RMSNormConfig(about_one=True)},
        {"attention": AttentionConfig(scale=0.5)},
        {"attention": AttentionConfig(softcap=0.5)},
        {"attention": AttentionConfig(out_bias=True)},
        {"attention": AttentionConfig(bias=True)},
        {"attention": AttentionConfig(qk_norm=True, qk_norm_whole=True)},
        {"attention": AttentionConfig(qk_norm=True, qk_norm_about_one=True)},
        {"position": RotaryConfig(share=0.5)},
        {"position": RotaryConfig(window_theta=10.0)},
        {"position": RotaryConfig(scaling=DynamicScaling(factor=2, original=9))},
    ],
    ids=str,
)
def test_what_the_kernel_does_not_know_it_leaves(unknown):
    config = CONFIGS["llama"].model_copy(update=unknown)
    model = config.build(VOCABULARY)
    assert not model.few_tokens.suits(model, 1)


@torch.inference_mode()
def test_a_long_context_takes_no_memory_before_it_is_used(tokens):
    for position in (RotaryConfig(), NoPositionConfig()):
        config = DecoderConfig(preset="llama", position=position, **{**_ODD, "context": 2**40})
        model = randomise(config.build(VOCABULARY)).eval()
        state = model.begin(1)
        for token in tokens[0, :3]:
            _, state = step(model, token, state)
        assert model.few_tokens.steps == 3
