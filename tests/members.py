"""Every language model that the laws must hold for, small and with every parameter random."""

from collections.abc import Callable

import torch

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import ReLU2Config, SwiGLUConfig
from rootlm.layers.mixture import MixtureConfig
from rootlm.layers.positions import AlibiConfig, NoPositionConfig, SinusoidalConfig
from rootlm.models.attention_rnn import RecurrentEncoderDecoderConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.encoder_decoder import EncoderDecoderConfig
from rootlm.models.interface import LanguageModel, Source, SourceModel

VOCABULARY = 50
CONTEXT = 48
SOURCE = torch.randint(0, VOCABULARY, (1, 11), generator=torch.Generator().manual_seed(5))
"""What every encoder–decoder has read before the laws ask anything of it."""
_SMALL = {"depth": 2, "hidden_size": 32, "n_heads": 4, "context": CONTEXT}

CONFIGS = {
    "gpt2": DecoderConfig(preset="gpt2", **_SMALL),
    "llama": DecoderConfig(preset="llama", **_SMALL),
    "qwen3": DecoderConfig(preset="qwen3", **_SMALL),
    "grouped": DecoderConfig(preset="qwen3", n_kv_heads=2, **_SMALL),
    "window": DecoderConfig(preset="llama", attention=AttentionConfig(window=5), **_SMALL),
    "alibi": DecoderConfig(preset="llama", position=AlibiConfig(), **_SMALL),
    "sinusoidal": DecoderConfig(preset="llama", position=SinusoidalConfig(), **_SMALL),
    "no_positions": DecoderConfig(
        preset="llama", position=NoPositionConfig(), feedforward=ReLU2Config(), **_SMALL
    ),
    "mixture": DecoderConfig(
        preset="llama", feedforward=MixtureConfig(experts=4, chosen=2, expert=SwiGLUConfig(size=32)), **_SMALL
    ),
    "transformer": EncoderDecoderConfig(preset="transformer", **_SMALL),
    "transformer_pre": EncoderDecoderConfig(preset="transformer", order="pre", n_kv_heads=2, **_SMALL),
    "t5": EncoderDecoderConfig(preset="t5", **_SMALL),
    "bahdanau": RecurrentEncoderDecoderConfig(attention="additive", hidden_size=24, encoder_layers=2),
    "luong": RecurrentEncoderDecoderConfig(attention="general", cell="lstm", hidden_size=24),
    "luong_dot": RecurrentEncoderDecoderConfig(
        attention="dot", hidden_size=24, tied=False, embedding_size=16
    ),
}


def randomise(model: LanguageModel, seed: int = 0) -> LanguageModel:
    """Give every parameter, norms and biases too, a value that a mistake would show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.3
            centre = 1.0 if "norm" in name and not name.endswith("bias") else 0.0
            parameter.copy_(centre + noise * (1.0 if "embedding" in name else scale))
    return model


def build(name: str, vocab_size: int = VOCABULARY) -> LanguageModel:
    """Return the member with this name, in evaluation mode."""
    return heard(randomise(CONFIGS[name].build(vocab_size)).eval())


def heard(model: LanguageModel) -> LanguageModel:
    """Let an encoder–decoder read SOURCE in every row before anything else; other models stay as they are."""
    if not isinstance(model, SourceModel):
        return model
    forward = model.forward

    def begin(rows: int, capacity: int | None = None):
        return model.read(SOURCE.expand(rows, -1), capacity=capacity)

    def after_source(tokens, state=None, **how):
        source = Source(SOURCE.expand(len(tokens), -1)) if state is None else None
        return forward(tokens, state, **{"source": source, **how})

    model.begin, model.forward = begin, after_source
    return model


MEMBERS: dict[str, Callable[[], LanguageModel]] = {
    name: (lambda chosen=name: build(chosen)) for name in CONFIGS
}

TRAINED = [name for name in CONFIGS if any(True for _ in CONFIGS[name].build(2).parameters())]
"""Members that learn by gradients; the others count."""
LIMITED = [name for name in CONFIGS if CONFIGS[name].reach is not None]
"""Members that hold at most so many tokens."""
