"""PEFT's `adapter_config.json` and our settings of adapters: what one says in the words of the other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootlm.layers.low_rank import LoraConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_READ = {"r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "alpha_pattern", "bias", "peft_type"}
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
}
"""Settings that say how an adapter was begun or which matrices have one; the tensors say that too."""
_FRESH = (True, False, "gaussian", "orthogonal", "eva")
"""Ways to begin that leave the base as it is."""


def is_peft(folder: Path) -> bool:
    """Tell whether a folder holds adapters that PEFT wrote."""
    return (folder / CONFIG).is_file()


@dataclass(frozen=True)
class PeftSettings:
    """What of `adapter_config.json` the equations need."""

    alpha: float
    alphas: Mapping[str, float]
    dropout: float
    stabilised: bool
    decomposed: bool

    def scale_of(self, name: str, rank: int) -> float:
        """Return what B A of a matrix of theirs is multiplied by."""
        return self._alpha_of(name) / (rank**0.5 if self.stabilised else rank)

    def config(self, ranks: Mapping[str, int], targets: list[str]) -> LoraConfig:
        """Return the settings under which matrices of these ranks find room: those of the highest."""
        widest = max(ranks, key=lambda name: ranks[name])
        return LoraConfig(
            rank=ranks[widest],
            alpha=self._alpha_of(widest),
            rank_stabilised=self.stabilised,
            decomposed=self.decomposed,
            dropout=self.dropout,
            targets=targets,
        )

    def _alpha_of(self, name: str) -> float:
        # PEFT takes the first pattern that fits the end of the name.
        fits = (value for key, value in self.alphas.items() if re.match(rf"(.*\.)?({key})$", name))
        return next(fits, self.alpha)


def read_settings(data: Any, file: Path) -> PeftSettings:
    """Read `adapter_config.json`; raises ValueError naming the setting that rootlm has no equations for."""
    if not isinstance(data, dict) or data.get("peft_type") != "LORA":
        found = data.get("peft_type") if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"{file}: peft_type is {found}; rootlm reads LORA (with use_dora, use_rslora)")
    if data.get("bias", "none") != "none":
        raise ValueError(f"{file}: bias is {data['bias']}; rootlm adapts matrices only, so it must be none")
    begun = data.get("init_lora_weights", True)
    if begun not in _FRESH:
        raise ValueError(
            f"{file}: init_lora_weights is {begun}, which changes the base too; convert it to plain LoRA with PEFT"
        )
    for key, value in data.items():
        if key not in _READ | _HARMLESS | {"init_lora_weights"} and value:
            raise ValueError(f"{file}: {key} is {value}, which rootlm has no equations for")
    try:
        found = PeftSettings(
            alpha=float(data["lora_alpha"]),
            alphas={key: float(value) for key, value in (data.get("alpha_pattern") or {}).items()},
            dropout=float(data.get("lora_dropout", 0.0)),
            stabilised=bool(data.get("use_rslora")),
            decomposed=bool(data.get("use_dora")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file}: lora_alpha, alpha_pattern or lora_dropout is no number ({error})"
        ) from error
    for key in found.alphas:
        try:
            re.compile(key)
        except re.error as error:
            raise ValueError(
                f"{file}: {key!r} of alpha_pattern is no regular expression ({error})"
            ) from error
    if not (min(found.alpha, *found.alphas.values(), math.inf) > 0 and 0 <= found.dropout < 1):
        raise ValueError(f"{file}: lora_alpha must be above 0, lora_dropout at least 0 and below 1")
    return found


def write_settings(
    settings: LoraConfig, ranks: Mapping[str, int], every: Sequence[str], *, base: str, task: str | None
) -> dict[str, Any]:
    """Return `adapter_config.json` for matrices of theirs with these `ranks`, out of `every` that the network has.

    `task` is PEFT's word for how the base is opened, None for one that only reads.
    """
    unusual = {name: rank for name, rank in ranks.items() if rank != settings.rank}
    # Of another rank, so with another alpha: the product must keep its scale.
    alphas = {
        name: settings.scale * (rank**0.5 if settings.rank_stabilised else rank)
        for name, rank in unusual.items()
    }
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rank_stabilised,
        "use_dora": settings.decomposed,
        "target_modules": _targets(list(ranks), every),
        "rank_pattern": unusual,
        "alpha_pattern": alphas,
        "bias": "none",
        "init_lora_weights": True,
    }


def _targets(chosen: Sequence[str], every: Sequence[str]) -> list[str]:
    """Return the last names where they mean the chosen and no others, else the whole names.

    >>> _targets(["a.0.q", "a.1.q"], ["a.0.q", "a.0.k", "a.1.q", "a.1.k"]), _targets(["a.0.q"], ["a.0.q", "a.1.q"])
    (['q'], ['a.0.q'])
    """
    ends = dict.fromkeys(name.rpartition(".")[2] for name in chosen)
    meant = [name for name in every if name.rpartition(".")[2] in ends]
    return list(ends) if sorted(meant) == sorted(chosen) else list(chosen)
