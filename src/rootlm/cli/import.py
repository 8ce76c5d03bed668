"""usage: rootlm import PATH out=RUN [revision=…] [dtype=bfloat16]

Writes a run of a published model: a Hugging Face folder or a GGUF file by its path, or a name on the hub where there
is a network (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN count). Tokenizer, chat template and generation config
come along. A folder can also be used as it is: every verb that takes a RUN takes it, and so does init_from in a recipe.

  rootlm import openai-community/gpt2 out=runs/gpt2
  rootlm generate runs/gpt2 "The sea"
"""

from __future__ import annotations

from typing import Literal

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to bring in."""

    path: str
    """A folder of Hugging Face's, a GGUF file, or a name of the hub."""
    out: str
    """The run folder to write."""
    revision: str | None = None
    """A branch, tag or commit of the hub; none takes the newest."""
    dtype: Literal["keep", "float32", "bfloat16", "float16"] = "keep"
    """The type of the weights; keep leaves them as they are."""


def run(tokens: list[str]) -> None:
    """Write the run and print what it is."""
    settings, _ = parse(tokens, Settings, ["path"])
    from pathlib import Path

    import torch

    from rootlm.runs.imported import import_model

    dtype = None if settings.dtype == "keep" else getattr(torch, settings.dtype)
    import_model(settings.path, Path(settings.out), revision=settings.revision, dtype=dtype)
