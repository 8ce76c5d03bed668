"""Every encoder that the laws must hold for, small and with every parameter random."""

from members import CONTEXT, VOCABULARY, randomise
from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import SwiGLUConfig
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import AlibiConfig, SinusoidalConfig
from rootlm.models.encoder_config import EncoderConfig, LocalConfig
from rootlm.models.interface import Encoder

_SMALL = {"depth": 3, "hidden_size": 32, "n_heads": 4, "context": CONTEXT}

ENCODERS = {
    "bert": EncoderConfig(preset="bert", **_SMALL),
    "modern": EncoderConfig(preset="modern", local=LocalConfig(window=4, every=2), **_SMALL),
    "unpadded bert": EncoderConfig(preset="bert", unpadded=True, **_SMALL),
    "all global": EncoderConfig(
        preset="modern", local="none", norm=RMSNormConfig(), feedforward=SwiGLUConfig(), **_SMALL
    ),
    "alibi": EncoderConfig(preset="modern", position=AlibiConfig(), embedding_norm=False, **_SMALL),
    "sinusoidal": EncoderConfig(
        preset="bert", position=SinusoidalConfig(), attention=AttentionConfig(qk_norm=True), types=0, **_SMALL
    ),
}


def build_encoder(name: str, vocab_size: int = VOCABULARY, **changes: object) -> Encoder:
    """Return the encoder with this name, in evaluation mode."""
    return randomise(ENCODERS[name].model_copy(update=changes).build(vocab_size)).eval()
