"""The peer's Llama as rootlm's decoder: the same shape, the same weights, the same logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks import hugging_face
from benchmarks.shapes import Shape
from rootlm.models.decoder import Decoder, DecoderConfig


def decoder(shape: Shape) -> Decoder:
    """Return rootlm's decoder with the weights of the peer's `build`, in float32.

    Raises ValueError when the two give other logits.
    """
    theirs = hugging_face.build(shape, "sdpa").eval()
    sizes = {"depth": shape.layers, "hidden_size": shape.width, "context": shape.context, "tied": shape.tied}
    config = DecoderConfig.model_validate({"preset": "llama", **sizes})
    ours = config.build(shape.vocabulary).eval()
    ours.load_state_dict(renamed(theirs.state_dict(), shape.layers))
    ids = torch.arange(1, 17)[None]
    with torch.inference_mode():
        gap = (ours(ids).values - theirs(ids).logits).abs().max().item()
    if gap > 1e-4:
        raise ValueError(f"the same weights give logits that differ by {gap:.2g}")
    return ours


def renamed(theirs: dict[str, Any], layers: int) -> dict[str, Tensor]:
    """Return a Llama's weights under rootlm's names; products that share their input are one."""
    found = {
        "embedding.weight": theirs["model.embed_tokens.weight"],
        "norm.weight": theirs["model.norm.weight"],
        "head.weight": theirs["lm_head.weight"],
    }
    for layer in range(layers):
        old, new = f"model.layers.{layer}", f"blocks.{layer}"
        qkv = [theirs[f"{old}.self_attn.{part}_proj.weight"] for part in "qkv"]
        up = [theirs[f"{old}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        found |= {
            f"{new}.attention_norm.weight": theirs[f"{old}.input_layernorm.weight"],
            f"{new}.attention.qkv.weight": torch.cat(qkv),
            f"{new}.attention.out.weight": theirs[f"{old}.self_attn.o_proj.weight"],
            f"{new}.feedforward_norm.weight": theirs[f"{old}.post_attention_layernorm.weight"],
            f"{new}.feedforward.up.weight": torch.cat(up),
            f"{new}.feedforward.down.weight": theirs[f"{old}.mlp.down_proj.weight"],
        }
    return found
