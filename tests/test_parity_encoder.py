"""What encoders compute equals transformers in float32, on weights where every parameter is random."""

import pytest
import torch
import transformers

from rootlm.layers.feedforward import GeGLUConfig, GeLUConfig
from rootlm.models.encoder_config import EncoderConfig, LocalConfig

VOCABULARY, CONTEXT, TIME = 97, 64, 40
SIZES = {"depth": 4, "hidden_size": 48, "n_heads": 6, "context": CONTEXT}
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "attn_implementation": "eager",
}


def bert():
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**COMMON))
    ours = EncoderConfig(preset="bert", feedforward=GeLUConfig(size=80, approximate="none"), **SIZES)
    return theirs, ours.model_copy(update={"heads": {"next_sentence": 2}})


def modern():
    config = transformers.ModernBertConfig(**COMMON, local_attention=12, bos_token_id=1, eos_token_id=2)
    ours = EncoderConfig(
        preset="modern",
        local=LocalConfig(window=7),
        feedforward=GeGLUConfig(size=80, approximate="none"),
        **SIZES,
    )
    return transformers.ModernBertForMaskedLM(config), ours


def from_bert(theirs):
    """Weights by our names, from BERT's."""
    names = {
        "embedding": "bert.embeddings.word_embeddings",
        "positions.table": "bert.embeddings.position_embeddings",
        "types": "bert.embeddings.token_type_embeddings",
        "embedding_norm": "bert.embeddings.LayerNorm",
        "transform": "cls.predictions.transform.dense",
        "transform_norm": "cls.predictions.transform.LayerNorm",
        "head": "cls.predictions.decoder",
        "pooler": "bert.pooler.dense",
        "heads.next_sentence": "cls.seq_relationship",
    }
    for layer in range(SIZES["depth"]):
        block, own = f"bert.encoder.layer.{layer}.", f"blocks.{layer}."
        parts = ("query", "key", "value")
        names[own + "attention.qkv"] = [f"{block}attention.self.{part}" for part in parts]
        names[own + "attention.out"] = block + "attention.output.dense"
        names[own + "attention_norm"] = block + "attention.output.LayerNorm"
        names[own + "feedforward.up"] = block + "intermediate.dense"
        names[own + "feedforward.down"] = block + "output.dense"
        names[own + "feedforward_norm"] = block + "output.LayerNorm"
    return renamed(theirs, names)


def from_modern(theirs):
    """The same for ModernBERT, whose first layer has no norm before its attention."""
    names = {
        "embedding": "model.embeddings.tok_embeddings",
        "embedding_norm": "model.embeddings.norm",
        "norm": "model.final_norm",
        "transform": "head.dense",
        "transform_norm": "head.norm",
        "head": "decoder",
    }
    for layer in range(SIZES["depth"]):
        block, own = f"model.layers.{layer}.", f"blocks.{layer}."
        names[own + "attention.qkv"] = block + "attn.Wqkv"
        names[own + "attention.out"] = block + "attn.Wo"
        names[own + "attention_norm"] = block + "attn_norm"
        names[own + "feedforward.up"] = block + "mlp.Wi"
        names[own + "feedforward.down"] = block + "mlp.Wo"
        names[own + "feedforward_norm"] = block + "mlp_norm"
    return renamed(theirs, names)


def renamed(theirs, names):
    found = {}
    for own, other in names.items():
        for end in (".weight", ".bias"):
            parts = [name + end for name in ([other] if isinstance(other, str) else other)]
            if parts[0] in theirs:
                found[own + end] = torch.cat([theirs[part] for part in parts])
    return found


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
    return model


FAMILIES = {"bert": (bert, from_bert), "modern": (modern, from_modern)}


@pytest.fixture(params=FAMILIES, scope="module")
def pair(request):
    make, mapped = FAMILIES[request.param]
    theirs, config = make()
    unsettle(theirs)
    ours = config.build(VOCABULARY)
    missing, unexpected = ours.load_state_dict(mapped(theirs.state_dict()), strict=False)
    assert not missing
    assert not unexpected
    return theirs.eval(), ours.eval()


@pytest.fixture
def tokens():
    return torch.randint(1, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(5))


def logits(answer):
    return answer.prediction_logits if "prediction_logits" in answer else answer.logits


def equal(found, expected):
    assert expected.std() >= 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_no_parameter_is_at_rest(pair):
    for name, parameter in pair[1].named_parameters():
        assert parameter.std() > 0.05, name


@torch.no_grad()
def test_logits_are_equal(pair, tokens):
    theirs, ours = pair
    equal(ours.predict(ours(tokens)), logits(theirs(tokens)))


@torch.no_grad()
def test_logits_are_equal_with_padding(pair, tokens):
    theirs, ours = pair
    lengths = torch.tensor([TIME, 23, 1])
    real = torch.arange(TIME) < lengths[:, None]
    expected = logits(theirs(tokens, attention_mask=real.long()))[real]
    equal(ours.predict(ours(tokens, lengths))[real], expected)


@torch.no_grad()
def test_pooled_answers_and_types_are_equal():
    theirs, config = bert()
    unsettle(theirs).eval()
    ours = config.build(VOCABULARY)
    ours.load_state_dict(from_bert(theirs.state_dict()))
    ours.eval()
    tokens = torch.randint(1, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(6))
    types = (torch.arange(TIME) > 11).long().expand(3, -1)
    answer = theirs(tokens, token_type_ids=types)
    hidden = ours(tokens, types=types)
    equal(ours.predict(hidden), answer.prediction_logits)
    torch.testing.assert_close(
        ours.tell("next_sentence", hidden), answer.seq_relationship_logits, rtol=0, atol=1e-4
    )
