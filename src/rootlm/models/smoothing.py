"""How counts become probabilities: the settings of every smoothing; their formulas stand where counts are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rootlm.core.config import Config


class MaximumLikelihood(Config):
    """c ÷ C, nothing for what was not seen: a word that is new after its context is impossible."""

    kind: Literal["maximum_likelihood"] = "maximum_likelihood"


class Additive(Config):
    """(c + δ) ÷ (C + δ · vocabulary) in the longest context that was seen (Lidstone 1920)."""

    kind: Literal["additive"] = "additive"
    delta: float = Field(1.0, gt=0)
    """What is added to every count; 1 is Laplace's rule."""


class GoodTuring(Config):
    """Counts up to `largest` shrink to (c + 1) · n₍c+1₎ ÷ n₍c₎, what they lose backs off (Katz 1987)."""

    kind: Literal["good_turing"] = "good_turing"
    largest: int = Field(5, ge=1)
    """Counts above this one are trusted."""


class JelinekMercer(Config):
    """λ · c ÷ C + (1 − λ) · lower order, a λ for contexts of like count (Jelinek and Mercer 1980)."""

    kind: Literal["jelinek_mercer"] = "jelinek_mercer"
    weight: float | None = Field(None, gt=0, lt=1)
    """One λ for all contexts; none finds them on held-out data: each occurrence in turn is left out of the counts."""


class WittenBell(Config):
    """(c + T · lower order) ÷ (C + T), where T words were seen after the context (Witten and Bell 1991)."""

    kind: Literal["witten_bell"] = "witten_bell"


class AbsoluteDiscounting(Config):
    """(c − D) ÷ C + D · T ÷ C · lower order (Ney, Essen and Kneser 1994)."""

    kind: Literal["absolute_discounting"] = "absolute_discounting"
    discount: float | None = Field(None, gt=0, lt=1)
    """D; none takes n₁ ÷ (n₁ + 2 n₂) of each order."""


class StupidBackoff(Config):
    """c ÷ C where seen, else `weight` × the lower order (Brants et al. 2007), divided by their sum in each context."""

    kind: Literal["stupid_backoff"] = "stupid_backoff"
    weight: float = Field(0.4, gt=0, le=1)
    """What a step down costs."""


class KneserNey(Config):
    """Absolute discounting whose lower orders count in how many contexts a word was seen (Kneser and Ney 1995)."""

    kind: Literal["kneser_ney"] = "kneser_ney"
    discount: float | None = Field(None, gt=0, lt=1)
    """D; none takes n₁ ÷ (n₁ + 2 n₂) of each order."""


class ModifiedKneserNey(Config):
    """Kneser–Ney with a discount each for counts of 1, 2 and more, interpolated (Chen and Goodman 1998)."""

    kind: Literal["modified_kneser_ney"] = "modified_kneser_ney"
    discounts: tuple[float, float, float] | None = None
    """D₁, D₂, D₃; none takes them from n₁ … n₄ of each order."""


Smoothing = Annotated[
    MaximumLikelihood
    | Additive
    | GoodTuring
    | JelinekMercer
    | WittenBell
    | AbsoluteDiscounting
    | StupidBackoff
    | KneserNey
    | ModifiedKneserNey,
    Field(discriminator="kind"),
]
