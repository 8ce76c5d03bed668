"""How far a network was stretched beyond the texts it was trained on, as GGUF says it and as Hugging Face does.

Llama 3 turns slow frequencies more slowly still. GGUF keeps what each is divided by, as a small tensor; Hugging
Face keeps the four numbers it is computed from. Three of them are recovered from the divisors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FREQUENCIES = "rope_freqs.weight"
FACTORS = {"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"}
TENSORS = (FREQUENCIES, *FACTORS.values())
"""Tensors that are settings in Hugging Face's words."""
_USUAL = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_YARN = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True, "mscale": None, "mscale_all_dim": None}
Divisors = NDArray[np.float64]


def read_scaling(
    settings: Mapping[str, Any], context: int, base: float, tensors: Mapping[str, Divisors], place: str
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return `rope_scaling`, and what else the config must say for it; `settings` have no architecture's name.

    Raises ValueError for a way of stretching that is not known.
    """
    if FREQUENCIES in tensors:
        return _llama3(tensors[FREQUENCIES], base, place), {}
    kind = settings.get("rope.scaling.type", "none")
    original = settings.get("rope.scaling.original_context_length")
    factor = settings.get("rope.scaling.factor")
    if FACTORS["long_factor"] in tensors:
        lists = {key: tensors[name].tolist() for key, name in FACTORS.items()}
        more = {"original_max_position_embeddings": original or context}
        return {"rope_type": "longrope", **lists}, more
    if kind == "none" or (factor in (None, 0.0, 1.0) and kind == "linear"):
        return None, {}
    if kind not in ("linear", "yarn") or not factor:
        raise ValueError(f"{place}: rope.scaling.type={kind!r} with factor {factor} is not supported")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": float(factor)}
    if kind == "yarn":
        scaling["original_max_position_embeddings"] = original or round(context / factor)
    return scaling, {}


def even_context(config: Mapping[str, Any]) -> int | None:
    """Return the largest context in which llama.cpp turns every text as its length asks, None if a config says none.

    With LongRoPE it takes the short factors or the long ones by the context that it is given, not by the text.
    """
    reach = config.get("max_position_embeddings") or config.get("n_positions")
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not reach or (scaling.get("rope_type") or scaling.get("type")) not in ("longrope", "su"):
        return int(reach) if reach else None
    key = "original_max_position_embeddings"
    return min(int(reach), int(scaling.get(key) or config.get(key) or reach))


def write_scaling(
    scaling: Mapping[str, Any], config: Mapping[str, Any], width: int, base: float, place: str
) -> tuple[dict[str, Any], dict[str, Divisors]]:
    """Return the settings and the tensors that say the same; `width` is the rotated part of a head.

    Raises ValueError for a way of stretching that llama.cpp does not have.
    """
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    given = {key: value for key, value in scaling.items() if key not in ("rope_type", "type", "rope_theta")}
    if kind == "default":
        return {}, {}
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(given["factor"])}, {}
    if kind == "llama3":
        return {}, {FREQUENCIES: _divisors(given, width, base)}
    if kind in ("longrope", "su"):
        return _write_longrope(given, config)
    if kind == "yarn":
        return _write_yarn(given, config, place), {}
    raise ValueError(
        f"{place}: rope_scaling {kind!r} has no equal in llama.cpp; it cannot be written as GGUF"
    )


def _write_longrope(
    given: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Divisors]]:
    context = config["max_position_embeddings"]
    original = given.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    original = original or context
    grown = max(1.0, context / original)
    spread = given.get("attention_factor") or math.sqrt(1 + math.log(grown) / math.log(original))
    settings = {"rope.scaling.original_context_length": original, "rope.scaling.attn_factor": float(spread)}
    return settings, {name: np.asarray(given[key], np.float64) for key, name in FACTORS.items()}


def _write_yarn(given: Mapping[str, Any], config: Mapping[str, Any], place: str) -> dict[str, Any]:
    factor = float(given["factor"])
    for key, usual in _YARN.items():
        value = given.get(key)
        if value is not None and value != usual:
            raise ValueError(
                f"{place}: rope_scaling {key}={value} has no equal in llama.cpp; it cannot be written as GGUF"
            )
    spread = given.get("attention_factor")
    if spread is not None and not math.isclose(spread, 0.1 * math.log(factor) + 1, rel_tol=1e-6):
        raise ValueError(f"{place}: rope_scaling attention_factor={spread} has no equal in llama.cpp")
    original = given.get("original_max_position_embeddings") or config["max_position_embeddings"]
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": int(original),
    }


def _divisors(given: Mapping[str, Any], width: int, base: float) -> Divisors:
    """Return what Llama 3.1 divides each frequency by."""
    factor, low, high = float(given["factor"]), given["low_freq_factor"], given["high_freq_factor"]
    turns = given["original_max_position_embeddings"] * _frequencies(width, base) / (2 * math.pi)
    # How often a pair turns within the original context: seldom is stretched, often is not.
    share = np.clip((turns - low) / (high - low), 0, 1)
    divisors: Divisors = 1 / ((1 - share) / factor + share)
    return divisors


def _frequencies(width: int, base: float) -> Divisors:
    frequencies: Divisors = base ** (-np.arange(0, width, 2) / width)
    return frequencies


def _llama3(divisors: Divisors, base: float, place: str) -> dict[str, Any]:
    """Return the numbers that give these divisors: the usual ones, else those solved from what lies between."""
    factor = float(divisors.max())
    for numbers in (_USUAL, *_solved(divisors, factor, base)):
        scaling = {"rope_type": "llama3", "factor": factor, **numbers}
        if np.allclose(_divisors(scaling, 2 * len(divisors), base), divisors, rtol=1e-4):
            return scaling
    raise ValueError(f"{place}: {FREQUENCIES} is not what Llama 3 computes; this network is not supported")


def _solved(divisors: Divisors, factor: float, base: float) -> Iterator[dict[str, Any]]:
    """Yield numbers to try: only ratios to the context count, so the lower limit is 1.

    Between the limits the share is a straight line over the frequency, which two points give. Where fewer lie
    between, the usual limits are kept and the context is moved.
    """
    frequencies = _frequencies(2 * len(divisors), base) / (2 * math.pi)
    share = (1 / divisors - 1 / factor) / (1 - 1 / factor) if factor > 1 else np.ones_like(divisors)
    between = (share > 1e-6) & (share < 1 - 1e-6)
    if between.sum() >= 2:
        slope, start = np.polyfit(frequencies[between], share[between], 1)
        if slope > 0 and start < 0:
            yield _limits(-slope / start, 1 - 1 / start)
    elif between.sum() == 1:
        yield _limits(float(((1 + 3 * share[between]) / frequencies[between])[0]), 4.0)
    elif share.max() > 0.5:
        yield _limits(4 / float(frequencies[share > 0.5].min()) + 1, 4.0)


def _limits(context: float, high: float) -> dict[str, Any]:
    return {
        "low_freq_factor": 1.0,
        "high_freq_factor": round(float(high), 4),
        "original_max_position_embeddings": round(context),
    }
