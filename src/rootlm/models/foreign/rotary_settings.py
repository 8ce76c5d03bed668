"""Rotary positions as configs state them, old way (`rope_theta`, `rope_scaling`) and new (`rope_parameters`)."""

from __future__ import annotations

import math
from typing import Any

from rootlm.layers.positions import RotaryConfig
from rootlm.layers.rotary_scaling import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RotaryScaling,
    YarnScaling,
)
from rootlm.models.foreign.given import MOST, Given


def read_rotary(
    given: Given,
    context: int,
    *,
    theta: float = 10000.0,
    share: float | None = None,
    original: int | None = None,
) -> tuple[RotaryConfig, int]:
    """Return the positions and how many tokens may be read; `theta`, `share`, `original` are the family's own.

    Without a `share` of its own a family turns whole heads.

    Raises ValueError for a kind of scaling that is not known.
    """
    scaled = given.group("rope_scaling")
    named = given.group("rope_parameters") if "rope_parameters" in given else scaled
    base = given.positive("rope_theta", theta)
    part = given.positive("partial_rotary_factor", share or 1.0)
    if "original_max_position_embeddings" in given:
        original = given.whole("original_max_position_embeddings")
    position = RotaryConfig(theta=base, share=part)
    if named is not None:
        position, context = read_parameters(named, (base, part), context, original)
    if share is None and position.share != 1:
        raise given.lacks("partial_rotary_factor", position.share)
    return position, context


def read_parameters(
    named: Given, plain: tuple[float, float], context: int, original: int | None = None
) -> tuple[RotaryConfig, int]:
    """Read one group of rotary settings; `plain` are the base and the share where it does not name them.

    An `original` context that stands outside of the group wins over the one in it.
    """
    base, share = named.positive("rope_theta", plain[0]), named.positive("partial_rotary_factor", plain[1])
    kind = named.get("rope_type", named.get("type", "default"))
    named.get("type")
    scaling, context = _scaling(named, kind, context, original)
    if context > MOST:
        raise named.wrong("factor", named.get("factor"), f"one that gives a context of at most {MOST:,}")
    named.finish(())
    return RotaryConfig(theta=base, share=share, scaling=scaling), context


def _scaling(named: Given, kind: Any, context: int, original: int | None) -> tuple[RotaryScaling | None, int]:
    factor = named.number("factor")
    if kind == "default":
        return None, context
    inside = named.whole("original_max_position_embeddings", context)
    first = original or inside
    if kind in ("longrope", "su"):
        return _long_rope(named, factor or context / first, first), context
    if factor is None:
        raise ValueError(f"{named.place}.factor is missing; rope_type {kind} needs one")
    scaling: RotaryScaling
    if kind == "linear":
        scaling = LinearScaling(factor=factor)
    elif kind == "dynamic":
        scaling, context = DynamicScaling(factor=factor, original=context), int(factor * context)
    elif kind == "yarn":
        scaling = YarnScaling(
            factor=factor,
            original=first,
            attention_factor=named.number("attention_factor"),
            beta_fast=named.positive("beta_fast", 32),
            beta_slow=named.positive("beta_slow", 1),
            mscale=named.number("mscale"),
            mscale_all_dim=named.number("mscale_all_dim"),
            truncate=named.flag("truncate", True),
        )
        context = max(context, int(factor * first))
    elif kind == "llama3":
        scaling = Llama3Scaling(
            factor=factor,
            low_freq_factor=named.positive("low_freq_factor", 1),
            high_freq_factor=named.positive("high_freq_factor", 4),
            original=first,
        )
    else:
        raise named.lacks("rope_type", kind)
    return scaling, context


def _long_rope(named: Given, factor: float, original: int) -> LongRopeScaling:
    usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    try:
        return LongRopeScaling(
            short_factor=tuple(named.get("short_factor", ())),
            long_factor=tuple(named.get("long_factor", ())),
            original=original,
            attention_factor=named.positive("attention_factor", usual),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{named.place}: short_factor and long_factor must be lists of numbers above 0"
        ) from error


def write_rotary(position: RotaryConfig, context: int) -> dict[str, Any]:
    """Return the keys of a config that every version of `transformers` reads."""
    written: dict[str, Any] = {"rope_theta": position.theta, "max_position_embeddings": context}
    if position.share != 1:
        written["partial_rotary_factor"] = position.share
    scaling = write_scaling(position.scaling)
    if isinstance(position.scaling, DynamicScaling):
        written["max_position_embeddings"] = position.scaling.original
    return {**written, "rope_scaling": scaling}


def write_scaling(scaling: RotaryScaling | None) -> dict[str, Any] | None:
    """Return a scaling as a group of keys, None for none."""
    if scaling is None:
        return None
    plain = scaling.model_dump(mode="json", exclude_none=True)
    kind = plain.pop("kind")
    original = plain.pop("original", None)
    if original is not None and kind != "dynamic":
        plain["original_max_position_embeddings"] = original
    return {"rope_type": kind, **plain}
