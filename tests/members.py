"""Every language model that the laws must hold for, small and with every parameter random."""

from collections.abc import Callable

import torch

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import ReLU2Config, SiLUConfig, SwiGLUConfig
from rootlm.layers.mixture import MixtureConfig
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import (
    AlibiConfig,
    LearnedConfig,
    NoPositionConfig,
    RotaryConfig,
    SinusoidalConfig,
)
from rootlm.layers.rotary_scaling import LinearScaling, YarnScaling
from rootlm.models.attention_rnn import RecurrentEncoderDecoderConfig
from rootlm.models.convolutional import ConvolutionalConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.feedforward_lm import FeedForwardLMConfig
from rootlm.models.interface import LanguageModel, Source, SourceModel
from rootlm.models.ngram_settings import NgramConfig
from rootlm.models.recurrent import RecurrentConfig
from rootlm.models.smoothing import Additive
from rootlm.training.fitters import fitter

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
    "parallel": DecoderConfig(preset="gpt2", position=RotaryConfig(share=0.5), order="parallel", **_SMALL),
    "around": DecoderConfig(
        preset="llama",
        norm=RMSNormConfig(about_one=True),
        position=RotaryConfig(theta=1e4, scaling=LinearScaling(factor=2), window_theta=100.0),
        attention=AttentionConfig(
            window=5, scale=0.2, softcap=2.0, qk_norm=True, qk_norm_about_one=True, bias=True, out_bias=False
        ),
        full_layers=(1,),
        order="around",
        embedding_scale=5.0,
        logit_softcap=3.0,
        **_SMALL,
    ),
    "after": DecoderConfig(
        preset="llama",
        n_kv_heads=2,
        attention=AttentionConfig(qk_norm=True, qk_norm_whole=True),
        order="after",
        **_SMALL,
    ),
    "stretched": DecoderConfig(
        preset="llama", position=RotaryConfig(theta=1e3, scaling=YarnScaling(factor=4, original=12)), **_SMALL
    ),
    "ngram": NgramConfig(order=3),
    "ngram_additive": NgramConfig(order=4, smoothing=Additive(delta=0.5)),
    "rnn": RecurrentConfig(cell="rnn", hidden_size=24, embedding_size=32),
    "gru": RecurrentConfig(cell="gru", hidden_size=24, tied=False),
    "lstm": RecurrentConfig(cell="lstm", hidden_size=32, layer_norm=True, residual=True),
    "feedforward": FeedForwardLMConfig(order=4, embedding_size=16, hidden_size=32, direct=True),
    "convolutional": ConvolutionalConfig(depth=2, hidden_size=24, kernel=3),
    "transformer": EncoderDecoderConfig(preset="transformer", **_SMALL),
    "transformer_pre": EncoderDecoderConfig(
        preset="transformer", order="pre", n_kv_heads=2, source_vocab_size=VOCABULARY + 20, **_SMALL
    ),
    "t5": EncoderDecoderConfig(preset="t5", **_SMALL),
    "bart": EncoderDecoderConfig(
        position=LearnedConfig(),
        feedforward=SiLUConfig(),
        attention=AttentionConfig(bias=True, scale=0.3),
        embedding_scale=1.0,
        embedding_norm=True,
        head_bias=True,
        head_scale=0.5,
        **_SMALL,
    ),
    "pointer": EncoderDecoderConfig(copies=True, order="pre", position=RotaryConfig(), **_SMALL),
    "bahdanau": RecurrentEncoderDecoderConfig(attention="additive", hidden_size=24, encoder_layers=2),
    "luong": RecurrentEncoderDecoderConfig(attention="general", cell="lstm", hidden_size=24),
    "luong_dot": RecurrentEncoderDecoderConfig(
        attention="dot", hidden_size=24, tied=False, embedding_size=16, source_vocab_size=VOCABULARY + 20
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
    """Return the member with this name, in evaluation mode; one that counts has counted a random text."""
    model = CONFIGS[name].build(vocab_size)
    fit = fitter(model.config)
    if fit is None:
        return heard(randomise(model).eval())
    generator = torch.Generator().manual_seed(0)
    # Some ids often, some never.
    ids = (torch.rand(40, 30, generator=generator) ** 2 * (vocab_size - 3)).long() + 3
    ids[:, -1] = 2
    fit(model, [(ids.flatten().numpy(), torch.arange(0, ids.numel() + 1, 30).numpy())], (1, 2), str)
    return model.eval()


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
