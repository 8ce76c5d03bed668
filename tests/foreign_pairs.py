"""Tiny encoder–decoders of every published family that rootlm reads, made with `transformers`, no parameter at rest."""

from collections.abc import Callable

import torch
import transformers

VOCABULARY, CONTEXT, WIDTH = 97, 64, 48
START, END, PAD = 96, 2, 96
MARKS = {
    "decoder_start_token_id": START,
    "eos_token_id": END,
    "pad_token_id": PAD,
    "bos_token_id": None,
    "forced_eos_token_id": None,
}


def t5(kind=transformers.T5Config, model=transformers.T5ForConditionalGeneration, **given):
    sizes = {
        "vocab_size": VOCABULARY,
        "d_model": WIDTH,
        "d_kv": 10,
        "d_ff": 80,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "num_heads": 6,
        "relative_attention_num_buckets": 16,
        "relative_attention_max_distance": 40,
        "n_positions": CONTEXT,
    }
    return model(kind(**{**sizes, **MARKS, **given}))


def untied(model):
    """Give a head of its own to a model that ties it when it is made, as Flan-T5's file does when it is read."""
    model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    return model


def flan_t5():
    return untied(t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False))


def mt5():
    return untied(t5(transformers.MT5Config, transformers.MT5ForConditionalGeneration))


def sizes(**given):
    return {
        "vocab_size": VOCABULARY,
        "d_model": WIDTH,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 6,
        "decoder_attention_heads": 6,
        "encoder_ffn_dim": 80,
        "decoder_ffn_dim": 80,
        "max_position_embeddings": CONTEXT,
        "attn_implementation": "eager",
        **MARKS,
        **given,
    }


def bart(**given):
    return transformers.BartForConditionalGeneration(transformers.BartConfig(**sizes(**given)))


def marian(**given):
    """OPUS-MT's own settings: swish, and embeddings times the root of the width."""
    settings = {"activation_function": "swish", "scale_embedding": True, **given}
    return transformers.MarianMTModel(transformers.MarianConfig(**sizes(**settings)))


def marian_apart():
    return marian(
        vocab_size=71,
        decoder_vocab_size=VOCABULARY,
        share_encoder_decoder_embeddings=False,
        pad_token_id=70,
    )


MEMBERS: dict[str, Callable] = {
    "t5": t5,
    "flan_t5": flan_t5,
    "mt5": mt5,
    "bart": bart,
    "bart_scaled": lambda: bart(scale_embedding=True, activation_function="relu"),
    "marian": marian,
    "marian_apart": marian_apart,
}


@torch.no_grad()
def unsettle(model):
    """Give every parameter and the bias of the logits values that a mistake would show in logits of some size."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # fixed waves
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_(noise * 0.3 + (0.0 if name.endswith("bias") else 1.0))
        elif "SelfAttention.q" in name or "EncDecAttention.q" in name:
            # T5 leaves out the scale of attention: unit scores would be a choice of one place only.
            parameter.copy_(noise * parameter.shape[-1] ** -0.5 * 0.3)
        elif "relative_attention_bias" in name:
            parameter.copy_(noise)
        elif any(table in name for table in ("shared", "embed_tokens", "embed_positions", "lm_head")):
            large = 4.0 if getattr(model.config, "scale_decoder_outputs", False) else 0.4
            parameter.copy_(noise * large)
        else:
            parameter.copy_(noise * parameter.shape[-1] ** -0.5)
    if "final_logits_bias" in dict(model.named_buffers()):
        noise = torch.randn(model.final_logits_bias.shape, generator=generator)
        model.final_logits_bias.copy_(noise)
    return model.eval()


def build(name):
    """Return the member with this name, in evaluation mode."""
    torch.manual_seed(0)
    return unsettle(MEMBERS[name]())
