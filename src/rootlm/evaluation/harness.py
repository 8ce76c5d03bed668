"""Answers the three questions of lm-evaluation-harness (extra `lm-eval`), so that its tasks run on any model here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rootlm.evaluation.likelihood import score_ids
from rootlm.generation.sampling import Sampling
from rootlm.generation.texts import Writer
from rootlm.models.interface import LanguageModel
from rootlm.tokenizers.tokenizer import Tokenizer

_MAX_NEW_TOKENS = 256
_LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Respondent:
    """A model that is asked; texts come as text, and how they are cut into tokens stays in here."""

    model: LanguageModel
    tokenizer: Tokenizer

    def continuations(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Return for each (context, continuation) ln p of the continuation, and whether greedy choice says it.

        The two are encoded together; spaces at the end of a context belong to the continuation. What does not fit
        the model's context is left out at the beginning.
        """
        encoded = [self._after_first(*self._pair(*pair)) for pair in pairs]
        firsts, documents = [first for first, _, _ in encoded], [ids for _, ids, _ in encoded]
        answers = score_ids(self.model, documents, firsts)
        return [
            (-float(nats[begin:].sum()), bool((ranks[begin:] == 0).all()))
            for (_, _, begin), (nats, ranks) in zip(encoded, answers, strict=True)
        ]

    def whole_texts(self, texts: Sequence[str]) -> list[float]:
        """Return ln p of each text after a begin token; its end is not asked for."""
        answers = score_ids(self.model, self.tokenizer.encode_batch(texts), self.tokenizer.bos_id)
        return [-float(nats.sum()) for nats, _ in answers]

    def answers(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Continue each context by its own settings: greedy, unless it sets `do_sample`, until a string in `until`."""
        texts: list[str | None] = [None] * len(requests)
        groups: dict[Sampling, list[int]] = {}
        for number, (_, settings) in enumerate(requests):
            groups.setdefault(_sampling(settings), []).append(number)
        writer = Writer(self.model, self.tokenizer)
        for sampling, numbers in groups.items():
            prompts = [self._fitting(requests[number][0], sampling) for number in numbers]
            for number, (one,) in zip(numbers, writer.generate(prompts, sampling), strict=True):
                texts[number] = one.text
        return [text for text in texts if text is not None]

    def _pair(self, context: str, continuation: str) -> tuple[list[int], int]:
        """Return the ids of both, and where the continuation begins."""
        bare = context.rstrip()
        ids = self.tokenizer.encode(context + continuation)
        begin = min(len(self.tokenizer.encode(bare)), len(ids) - 1) if ids else 0
        if self.model.context is None:
            return ids, begin
        left_out = max(0, min(begin, len(ids) - self.model.context))
        return ids[left_out:], begin - left_out

    def _after_first(self, ids: list[int], begin: int) -> tuple[int, list[int], int]:
        """Return what is read first, the ids after it, and where among them the continuation begins.

        A published model whose prompts have no begin mark reads none before a context.
        """
        if begin and not self.tokenizer.begins:
            return ids[0], ids[1:], begin - 1
        return self.tokenizer.bos_id, ids, begin

    def _fitting(self, prompt: str, sampling: Sampling) -> str:
        """Return the end of a prompt that leaves room for the answer."""
        if self.model.context is None:
            return prompt
        room = max(1, self.model.context - sampling.max_new_tokens - 1)
        ids = self.tokenizer.encode(prompt)
        return prompt if len(ids) <= room else self.tokenizer.decode(ids[-room:]).lstrip("\ufffd")


def adapter(model: LanguageModel, tokenizer: Tokenizer) -> Any:
    """Return an `lm_eval.api.model.LM`, for `lm_eval.simple_evaluate(model=adapter(run.model, run.tokenizer), …)`.

    Raises ValueError when the extra `lm-eval` is not installed.
    """
    try:
        from lm_eval.api.model import LM
    except ImportError:
        raise ValueError('the evaluation harness needs an extra: pip install "rootlm[lm-eval]"') from None
    respondent = Respondent(model, tokenizer)

    class Adapter(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            return respondent.continuations([request.args for request in requests])

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            return respondent.whole_texts([request.args[0] for request in requests])

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            return respondent.answers([request.args for request in requests])

    return Adapter()


def _sampling(settings: Mapping[str, Any]) -> Sampling:
    known = {
        name: value for name, value in settings.items() if name in Sampling.model_fields and value is not None
    }
    if not settings.get("do_sample", False):
        known = {name: value for name, value in known.items() if name not in ("top_k", "top_p", "min_p")}
        known["temperature"] = 0.0
    until = settings.get("until") or []
    lengths = [settings[name] for name in _LENGTH_NAMES if settings.get(name) is not None]
    known |= {
        "stop": [until] if isinstance(until, str) else [text for text in until if text],
        "max_new_tokens": lengths[0] if lengths else _MAX_NEW_TOKENS,
        "n": 1,
    }
    return Sampling().changed({"seed": 0, **known})
