"""How the next token is chosen and when a text ends: the settings of generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rootlm.core.config import Config, nested, to_plain, validate

Finite = Annotated[float, Field(allow_inf_nan=False)]


class LookUpConfig(Config):
    """Guess that what followed the last tokens, where they stood earlier in prompt or answer, follows again."""

    kind: Literal["lookup"] = "lookup"
    tokens: int = Field(default=8, ge=1)
    """The most tokens to guess at once."""
    ngram: int = Field(default=3, ge=1)
    """How many tokens must have stood there before."""


class DraftConfig(Config):
    """Let a smaller model guess, which has the same tokenizer."""

    kind: Literal["draft"] = "draft"
    model: str
    """Its run folder."""
    tokens: int = Field(default=4, ge=1)
    """How many tokens it guesses at once."""


SpeculateConfig = Annotated[LookUpConfig | DraftConfig, Field(discriminator="kind")]


class Sampling(Config):
    """How to choose tokens; the defaults sample from the model as it is."""

    max_new_tokens: int = Field(default=256, ge=1)
    """The most tokens to write after the prompt."""
    temperature: Finite = Field(default=1.0, ge=0)
    """Below 1 the likely becomes likelier; 0 is greedy, always the likeliest token."""
    top_k: int = Field(default=0, ge=0)
    """Choose among the k likeliest tokens; 0 allows all, 1 is greedy."""
    top_p: Finite = Field(default=1.0, gt=0, le=1)
    """Choose among the fewest likeliest tokens that hold this share of the probability."""
    min_p: Finite = Field(default=0.0, ge=0, le=1)
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    repetition_penalty: Finite = Field(default=1.0, gt=0)
    """Above 1, tokens of the prompt and of the text so far become less likely (logits are divided by it)."""
    frequency_penalty: Finite = Field(default=0.0, ge=-2, le=2)
    """Taken off a token's logit for each time the new text holds it already."""
    presence_penalty: Finite = Field(default=0.0, ge=-2, le=2)
    """Taken off a token's logit once the new text holds it."""
    stop: tuple[str, ...] = ()
    """The text ends before the first of these strings; a single string or a list."""
    seed: int | None = Field(default=None, ge=0)
    """Sample number i draws from seed + i; the same seed says the same. None takes a new one each time."""
    n: int = Field(default=1, ge=1)
    """How many texts to write for each prompt."""
    num_beams: int = Field(default=1, ge=1)
    """Above 1, search for the likeliest text with this many beams instead of sampling."""
    length_penalty: Finite = 1.0
    """Beams are compared by log-probability ÷ tokens ** length_penalty; above 0 favours longer texts."""
    early_stopping: bool | Literal["never"] = True
    """Whether a search ends with as many whole texts as beams; false: once the likeliest beam, were it to end now, is
    worth no more than they are; never: once it is worth no more even at the longest."""
    renormalize_logits: bool = True
    """Whether what is left of a beam's next tokens has probability 1 together again, after others were ruled out."""
    coverage_penalty: Finite = Field(default=0.0, ge=0)
    """Above 0, beams are worth less for each place of the source that they have hardly listened to; for models that
    attend to one."""
    reverse_weight: Finite = Field(default=0.0, ge=0)
    """Above 0, the texts written for a source are also compared by how likely they make it, at this weight; for models
    that have learned both directions."""
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    """No so many tokens stand in a row twice, the prompt included; 0 allows all."""
    on_full: Literal["stop", "slide"] = "stop"
    """At the model's context limit: stop and say so, or re-read the last half and go on."""
    speculate: SpeculateConfig | None = None
    """Guess tokens and let the model read several at once: speculate.kind=lookup, or speculate.kind=draft and
    speculate.model=RUN. What is written is distributed as without; greedy texts are the same. Faster where guesses
    hold and the model is slow, else slower."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_string_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "" in self.stop:
            raise ValueError("stop holds an empty string, which would end every text at once; leave it out")
        if self.num_beams == 1 and self.greedy and self.n > 1:
            raise ValueError(
                f"{self.n} greedy texts are all the same; set temperature above 0 or num_beams={self.n}"
            )
        if self.num_beams > 1:
            self._fits_beams()
        else:
            for name in ("coverage_penalty", "reverse_weight"):
                if getattr(self, name):
                    raise ValueError(f"{name} compares beams; set num_beams=4, or leave it out")
        return self

    def _fits_beams(self) -> None:
        if self.n > self.num_beams:
            raise ValueError(f"{self.num_beams} beams cannot give n={self.n} texts; set num_beams={self.n}")
        if self.temperature not in (0, 1) or self.top_k or self.top_p < 1 or self.min_p:
            raise ValueError(
                "beams do not sample; set temperature=1, top_k=0, top_p=1, min_p=0, or num_beams=1"
            )
        if self.speculate is not None:
            raise ValueError("beams are not guessed ahead; leave out speculate or num_beams")
        if self.on_full == "slide":
            raise ValueError("beams stop at the context limit; leave out on_full=slide or num_beams")

    def changed(self, settings: Mapping[str, Any]) -> Sampling:
        """Return these settings with some changed; raises ValueError naming the key that does not fit.

        >>> Sampling(top_p=0.9).changed({"temperature": 0.5, "speculate.kind": "lookup"}).speculate
        LookUpConfig(kind='lookup', tokens=8, ngram=3)
        """
        return validate(Sampling, {**to_plain(self), **nested(settings)})

    @property
    def greedy(self) -> bool:
        """Whether every choice is the likeliest token."""
        return self.temperature == 0 or self.top_k == 1


_RENAMED = {"stop": "stop_strings", "n": "num_return_sequences"}
_OTHERWISE = {"early_stopping": False, "renormalize_logits": False}
"""What `transformers` takes for granted where a file says nothing of beams, and we do not."""


def to_generation_config(sampling: Sampling) -> dict[str, Any]:
    """Return the settings as Hugging Face's `generation_config.json` names them, as far as they are no defaults.

    Seed, `on_full`, `coverage_penalty` and `speculate` have no place there.

    >>> to_generation_config(Sampling(temperature=0.8, top_p=0.95, stop=["。"]))["stop_strings"]
    ['。']
    """
    left_out = {"seed", "on_full", "coverage_penalty", "speculate"} | (
        {"temperature", "top_k"} if sampling.greedy else set()
    )
    plain = sampling.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
    named = {_RENAMED.get(name, name): value for name, value in plain.items()}
    kept = {"max_new_tokens": sampling.max_new_tokens, **named}
    if sampling.num_beams > 1:
        kept |= {name: getattr(sampling, name) for name in _OTHERWISE}
    return {"do_sample": not sampling.greedy and sampling.num_beams == 1, **kept}


def from_generation_config(data: Mapping[str, Any]) -> Sampling:
    """Read the settings that rootlm knows from a `generation_config.json`; others, such as ids, are left.

    As in `transformers`, `do_sample: false` or no `do_sample` means greedy, and null means the default.

    >>> from_generation_config({"do_sample": False, "temperature": 0.6, "eos_token_id": 0}).temperature
    0.0
    """
    if data.get("num_beams") not in (None, 1) or "decoder_start_token_id" in data:
        data = {**_OTHERWISE, **{name: value for name, value in data.items() if value is not None}}
    back = {theirs: ours for ours, theirs in _RENAMED.items()}
    renamed = {back.get(name, name): value for name, value in data.items() if value is not None}
    kept = {name: value for name, value in renamed.items() if name in Sampling.model_fields}
    if not data.get("do_sample", False):
        for name in ("temperature", "top_k", "top_p", "min_p"):
            kept.pop(name, None)
        kept |= {} if kept.get("num_beams", 1) > 1 else {"temperature": 0.0}
    try:
        return validate(Sampling, kept)
    except ValueError as error:
        raise ValueError("; ".join(str(error).splitlines())) from error


def end_ids(data: Mapping[str, Any]) -> frozenset[int]:
    """Return the ids that end a text by a `generation_config.json`: one, a list, or none.

    >>> sorted(end_ids({"eos_token_id": [151645, 151643]}))
    [151643, 151645]
    """
    value = data.get("eos_token_id")
    if value is None:
        return frozenset()
    return frozenset(value if isinstance(value, list) else [value])
