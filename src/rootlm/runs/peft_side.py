"""Adapters as PEFT puts them on their base."""

from __future__ import annotations

import importlib.util
import warnings
from importlib.metadata import version
from pathlib import Path

from rootlm.core.foreign_words import refusing
from rootlm.models.foreign.hugging_face_folder import is_published
from rootlm.runs.sides import TransformersSide, has_transformers


def peft_side(folder: Path, base: Path) -> TransformersSide | None:
    """Open a base by `transformers` with PEFT's adapters on it; None where either is not installed, or opens no base.

    Raises ValueError in PEFT's words where it does not take the folder.
    """
    if not (has_transformers() and importlib.util.find_spec("peft") and is_published(base)):
        return None
    from peft import PeftModel

    side = TransformersSide(base)
    # The two libraries warn of each other's names.
    with refusing(str(folder), "PEFT"), warnings.catch_warnings(action="ignore"):
        side.change(lambda model: PeftModel.from_pretrained(model, str(folder)).eval())
    side.name, side.opened_by = str(folder), f"PEFT {version('peft')} with {side.opened_by}"
    return side
