"""Published models by path, or by name from the hub where there is a network."""

from __future__ import annotations

import re
from pathlib import Path

from rootlm.core.foreign_words import in_one_line

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "README.md", "LICENSE*")
_WEIGHTS = ("*.safetensors", "*.bin")
"""In the folder itself; those below it are for other programs."""


def find(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model: a path that exists, else what the hub has under this name.

    What was fetched stays in Hugging Face's own cache, and a fetch that broke off goes on. HF_HOME, HF_ENDPOINT,
    HF_HUB_OFFLINE and HF_TOKEN count. Raises ValueError for a name that neither knows.
    """
    path = Path(name)
    if path.exists():
        if revision is not None:
            raise ValueError(f"revision={revision}: {path} is a folder here, which has but one; leave it out")
        return path
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(
            f"{name}: no such folder; give a path, or a name of the hub such as openai-community/gpt2"
        )
    from huggingface_hub import snapshot_download

    try:
        for weights in _WEIGHTS:
            found = Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=[*_SMALL, weights],
                    ignore_patterns=[f"*/{large}" for large in _WEIGHTS],
                )
            )
            if any(found.glob(weights)):
                break
    except Exception as error:
        said = in_one_line(error)
        raise ValueError(f"{name}: no such folder here, and the hub does not give it: {said}") from error
    return found
