"""usage: rootlm import PATH out=RUN [revision=…] [dtype=…] [pad=none] [pattern=…] [base=…] [tokenizer=… key_map=…]

Writes a run of a published model: a Hugging Face folder or a GGUF file by its path, or a name on the hub where there
is a network (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN count). Tokenizer, chat template and generation config
come along. A folder can also be used as it is: every verb that takes a RUN takes it, and so does init_from in a recipe.

A folder of PEFT's becomes a run of its base with adapters. A state dict of torch.nn.LSTM, GRU or RNN between an
embedding and a linear head (.pt, .bin or .safetensors; nothing in it is executed) becomes a recurrent run: tokenizer=
is a tokenizer, or a text file with one word a line in the order of their ids, and key_map= a YAML file that says the
names of its tensors; without one they are those of PyTorch's word_language_model example.

  rootlm import openai-community/gpt2 out=runs/gpt2
  rootlm import my-adapters base=models/llama out=runs/adapted
  rootlm import lstm.pt tokenizer=words.txt out=runs/lstm
"""

from __future__ import annotations

from typing import Literal

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to bring in."""

    path: str
    """A folder of Hugging Face's or PEFT's, a GGUF file, a state dict of torch's, or a name of the hub."""
    out: str
    """The run folder to write."""
    revision: str | None = None
    """A branch, tag or commit of the hub; none takes the newest."""
    dtype: Literal["keep", "float32", "bfloat16", "float16"] = "keep"
    """The type of the weights; keep leaves them as they are."""
    pad: str | None = None
    """Another token that fills rows; none that nothing does, for tokenizers whose pad is their eos."""
    pattern: str | None = None
    """How the text of a file of ranks (.tiktoken) is cut: a regular expression, or the name of a published one."""
    base: str | None = None
    """PEFT: what the adapters were made for, a run, a folder or a name of the hub; none takes what they name."""
    tokenizer: str | None = None
    """A state dict: a tokenizer's folder or file, or a list of words."""
    key_map: str | None = None
    """A state dict: a YAML file with the names of its tensors."""


def run(tokens: list[str]) -> None:
    """Write the run and print what it is."""
    settings, _ = parse(tokens, Settings, ["path"])
    from pathlib import Path

    import torch

    from rootlm.models.foreign.peft_settings import is_peft
    from rootlm.runs.adapter_folders import import_peft
    from rootlm.runs.imported import import_model
    from rootlm.runs.published import find
    from rootlm.runs.recurrent_folders import import_recurrent, is_state_dict

    out = Path(settings.out)
    source = find(settings.path, settings.revision)
    if is_state_dict(source):
        import_recurrent(source, out, tokenizer=settings.tokenizer, key_map=settings.key_map)
    elif is_peft(source):
        import_peft(source, out, base=settings.base)
    else:
        dtype = None if settings.dtype == "keep" else getattr(torch, settings.dtype)
        pad = "" if settings.pad == "none" else settings.pad
        import_model(
            settings.path, out, revision=settings.revision, dtype=dtype, pad=pad, pattern=settings.pattern
        )
