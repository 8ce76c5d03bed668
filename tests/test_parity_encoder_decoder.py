"""Encoder–decoders equal their references in float32: torch's Transformer, T5, attention written out by hand."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

from members import randomise
from rootlm.layers.dense_attention import attend
from rootlm.layers.feedforward import GeGLUConfig, ReLUConfig
from rootlm.models.attention_rnn import RecurrentEncoderDecoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.interface import Source

VOCABULARY, WIDTH, HEADS, DEPTH = 61, 48, 4, 2
LENGTHS = torch.tensor([9, 4, 1])
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randint(0, VOCABULARY, (3, time), generator=generator) for time in (9, 7))


def hidden_places(lengths, places):
    return torch.arange(places) >= lengths[:, None]


def from_torch(theirs, layers, side):
    """Weights of a stack by our names, from those of torch's encoder or decoder."""
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.out.",
        "multihead_attn.out_proj.": "cross.out.",
        "linear1.": "feedforward.up.",
        "linear2.": "feedforward.down.",
        "norm1.": "attention_norm.",
        "norm2.": "feedforward_norm." if side == "encoder" else "cross_norm.",
        "norm3.": "feedforward_norm.",
    }
    mapped = {}
    for layer in range(layers):
        for kind in ("weight", "bias"):
            for other, own in names.items():
                found = theirs.get(f"{side}.layers.{layer}.{other}{kind}")
                if found is not None:
                    mapped[f"{side}.blocks.{layer}.{own}{kind}"] = found
            both = theirs.get(f"{side}.layers.{layer}.multihead_attn.in_proj_{kind}")
            if both is not None:
                mapped[f"{side}.blocks.{layer}.cross.q.{kind}"] = both[:WIDTH]
                mapped[f"{side}.blocks.{layer}.cross.kv.{kind}"] = both[WIDTH:]
    return mapped


def waves(time):
    angles = torch.arange(time)[:, None] / 10000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


@torch.no_grad()
@pytest.mark.parametrize("order", ["post", "pre"])
def test_the_transformer_of_2017_equals_that_of_torch(texts, order):
    sizes = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 80, "dropout": 0.0, "batch_first": True}
    sizes["norm_first"] = order == "pre"
    norms = [nn.LayerNorm(WIDTH) if order == "pre" else None for _ in range(2)]
    theirs = nn.Transformer(
        d_model=WIDTH,
        nhead=HEADS,
        batch_first=True,
        custom_encoder=nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**sizes), DEPTH, norms[0], enable_nested_tensor=False
        ),
        custom_decoder=nn.TransformerDecoder(nn.TransformerDecoderLayer(**sizes), DEPTH, norms[1]),
    )
    randomise(theirs, 3).eval()
    config = EncoderDecoderConfig(
        order=order, depth=DEPTH, hidden_size=WIDTH, n_heads=HEADS, feedforward=ReLUConfig(size=80)
    )
    ours = randomise(config.build(VOCABULARY)).eval()
    weights = theirs.state_dict()
    mapped = from_torch(weights, DEPTH, "encoder") | from_torch(weights, DEPTH, "decoder")
    mapped |= {name: weights[name] for name in weights if name.split(".")[1] == "norm"}
    left = set(ours.state_dict()) - set(mapped)
    assert left == {"embedding.weight", "head.weight"}
    ours.load_state_dict(mapped, strict=False)

    source, target = texts
    padding = hidden_places(LENGTHS, 9)
    table = ours.embedding.weight
    read, written = (F.embedding(ids, table) * WIDTH**0.5 + waves(ids.shape[1]) for ids in texts)
    stream = theirs(
        read,
        written,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(7),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    expected = stream @ table.T
    assert expected.std() > 1
    torch.testing.assert_close(ours(target, source=Source(source, LENGTHS)).values, expected, **CLOSE)


def from_t5(theirs, config, tied):
    """Weights by our names; T5 leaves √d out of attention, and of the embedding, so it goes into the weights."""
    width, size = config.d_model, config.d_kv
    mapped = {"embedding.weight": theirs["shared.weight"] / width**0.5}
    # A tied T5 divides the stream by √width before its head, which is then our embedding.
    mapped["head.weight"] = mapped["embedding.weight"] if tied else theirs["lm_head.weight"]
    for side, last in (("encoder", 1), ("decoder", 2)):
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        mapped[f"{side}.positions.table.weight"] = theirs[bias]
        mapped[f"{side}.norm.weight"] = theirs[f"{side}.final_layer_norm.weight"]
        for layer in range(config.num_layers):
            block, own = f"{side}.block.{layer}.layer.", f"{side}.blocks.{layer}."
            q, k, v, o = (theirs[f"{block}0.SelfAttention.{name}.weight"] for name in "qkvo")
            mapped[own + "attention.qkv.weight"] = torch.cat([q * size**0.5, k, v])
            mapped[own + "attention.out.weight"] = o
            mapped[own + "attention_norm.weight"] = theirs[f"{block}0.layer_norm.weight"]
            mapped[own + "feedforward_norm.weight"] = theirs[f"{block}{last}.layer_norm.weight"]
            dense = f"{block}{last}.DenseReluDense."
            ups = [
                theirs[f"{dense}{name}.weight"]
                for name in ("wi", "wi_0", "wi_1")
                if f"{dense}{name}.weight" in theirs
            ]
            mapped[own + "feedforward.up.weight"] = torch.cat(ups)
            mapped[own + "feedforward.down.weight"] = theirs[dense + "wo.weight"]
            if side == "decoder":
                q, k, v, o = (theirs[f"{block}1.EncDecAttention.{name}.weight"] for name in "qkvo")
                mapped[own + "cross.q.weight"], mapped[own + "cross.kv.weight"] = (
                    q * size**0.5,
                    torch.cat([k, v]),
                )
                mapped[own + "cross.out.weight"] = o
                mapped[own + "cross_norm.weight"] = theirs[f"{block}1.layer_norm.weight"]
    return mapped


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "tied", "part"),
    [
        ("relu", True, ReLUConfig(size=80, bias=False)),
        ("gated-gelu", False, GeGLUConfig(size=80, approximate="tanh")),
    ],
)
def test_t5_equals_that_of_transformers(kind, tied, part):
    known = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        d_kv=8,
        d_ff=80,
        num_layers=DEPTH,
        num_heads=6,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=40,
        feed_forward_proj=kind,
        tie_word_embeddings=tied,
        dropout_rate=0.0,
    )
    theirs = randomise(transformers.T5ForConditionalGeneration(known), 3).eval()
    # The scale of attention that T5 leaves out would make of unit weights a choice of one place only.
    for name, parameter in theirs.named_parameters():
        if name.endswith((".q.weight", ".k.weight")):
            parameter.mul_(0.5)
    theirs.shared.weight.mul_(10)
    position = {"kind": "relative", "buckets": 16, "longest": 40}
    sizes = {"depth": DEPTH, "hidden_size": WIDTH, "n_heads": 6, "head_size": 8}
    config = EncoderDecoderConfig(preset="t5", tied=tied, position=position, feedforward=part, **sizes)
    ours = config.build(VOCABULARY).eval()
    mapped = from_t5(theirs.state_dict(), theirs.config, tied)
    ours.load_state_dict(mapped)
    generator = torch.Generator().manual_seed(2)
    source, target = (torch.randint(0, VOCABULARY, (3, time), generator=generator) for time in (60, 45))
    lengths = torch.tensor([60, 33, 2])
    mask = (~hidden_places(lengths, 60)).long()
    expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
    assert expected.std() > 1
    torch.testing.assert_close(ours(target, source=Source(source, lengths)).values, expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["additive", "dot", "general"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_attention_over_a_recurrent_network_equals_a_loop_written_out(texts, attention, cell):
    """One text, one token at a time, with the formulas of Bahdanau et al. (2015) and Luong et al. (2015)."""
    config = RecurrentEncoderDecoderConfig(attention=attention, cell=cell, hidden_size=24)
    model = randomise(config.build(VOCABULARY)).eval()
    together = model(texts[1], source=Source(texts[0], LENGTHS)).values
    for row, length in enumerate(LENGTHS.tolist()):
        heard = model.encoder(model.embedding(texts[0][row : row + 1, :length]))[0][0]  # (places, 24)
        hidden = torch.tanh(model.first.weight @ heard[0, 12:] + model.first.bias)
        memory, fed, logits = torch.zeros(24), torch.zeros(24), []
        for token in texts[1][row]:
            x = model.embedding.weight[token]
            if attention == "additive":
                query = model.query.weight @ hidden + model.query.bias
                scores = [
                    model.weigh.weight[0] @ torch.tanh(query + model.keys.weight @ place) for place in heard
                ]
                context = torch.stack(scores).softmax(0) @ heard
                read = torch.cat([x, context])
            else:
                read = torch.cat([x, fed])
            if cell == "gru":
                hidden = model.cell(read, hidden)
            else:
                hidden, memory = model.cell(read, (hidden, memory))
            if attention == "additive":
                said = torch.tanh(model.mix.weight @ torch.cat([hidden, context, x]) + model.mix.bias)
            else:
                keys = heard if attention == "dot" else heard @ model.keys.weight.T
                context = (keys @ hidden).softmax(0) @ heard
                said = fed = torch.tanh(model.mix.weight @ torch.cat([context, hidden]))
            logits.append(model.head.weight @ said)
        torch.testing.assert_close(together[row], torch.stack(logits), **CLOSE)


@pytest.mark.parametrize("shape", [(3, 4, 9, 7), (1, 4, 9, 7), (1, 1, 9, 7)])
def test_a_learned_mask_has_the_gradient_of_the_formula(shape):
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(3, 4, time, 8, generator=generator, requires_grad=True) for time in (9, 7, 7))
    mask = torch.randn(shape, generator=generator, requires_grad=True)
    upstream = torch.randn(3, 4, 9, 8, generator=generator)
    found = torch.autograd.grad((attend(q, k, v, mask, is_causal=False) * upstream).sum(), (q, k, v, mask))
    mixed = (q @ k.transpose(-1, -2) / 8**0.5 + mask).softmax(-1) @ v
    for one, other in zip(found, torch.autograd.grad((mixed * upstream).sum(), (q, k, v, mask)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
