"""Beam search: keep the likeliest beginnings side by side, and return the likeliest whole texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rootlm.generation.choosing import check_numbers
from rootlm.generation.decoding import all_transforms, check_prompts, evaluating
from rootlm.generation.prompt_reading import read_all
from rootlm.generation.rows import Row, Vocabulary
from rootlm.generation.sampling import Sampling
from rootlm.generation.stopping import Reason
from rootlm.generation.transforms import History
from rootlm.models.interface import LanguageModel, Last, Prediction, SiblingState, State


@dataclass(frozen=True, slots=True)
class Beam:
    """A beginning of a text: its tokens, what the model says of each, and its score."""

    prompt: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    score: float = 0.0
    """The sum of the log-probabilities after penalties; a whole text's is divided by its length."""
    coverage: float = 0.0
    """What the places of the source that it has hardly listened to cost, 0 or less."""
    finish_reason: Reason | None = None


@dataclass
class _Search:
    """The beams of one prompt: those going on, and the whole texts found."""

    prompt: int
    prompt_ids: Sequence[int]
    live: list[Beam]
    whole: list[Beam] = field(default_factory=list)


@dataclass(frozen=True)
class _Rules:
    """When a beam is a whole text, and what it says."""

    sampling: Sampling
    vocabulary: Vocabulary
    context: int | None

    @property
    def forced(self) -> int:
        """How many tokens of an answer were set before the search began."""
        answering = self.vocabulary.answering
        return int(answering is not None and answering.first is not None)

    def worth(self, beam: Beam, size: int) -> float:
        """Return what a beam's log-probability is worth in a text with so many tokens after the prompt."""
        return beam.score / math.pow(size + self.forced, self.sampling.length_penalty)

    def done(self, one: _Search) -> bool:
        """Whether enough whole texts were found, and nothing that goes on promises to be better."""
        most = self.sampling.num_beams
        if not one.live or len(one.whole) < most:
            return not one.live
        if self.sampling.early_stopping is True:
            return True
        size = len(one.live[0].tokens)
        if self.sampling.early_stopping == "never" and self.sampling.length_penalty > 0:
            size = self.sampling.max_new_tokens
        kept = sorted((beam.score - beam.coverage for beam in one.whole), reverse=True)
        return self.worth(one.live[0], size) <= kept[most - 1]

    @property
    def most_endings(self) -> int:
        """How many continuations of one beam can be whole texts: end tokens, or any that completes a stop string."""
        return max(1, len(self.vocabulary.end_ids)) + 2 * len(self.sampling.stop)

    def ending(self, beam: Beam, prompt_ids: Sequence[int]) -> Reason | None:
        if beam.tokens[-1] in self.vocabulary.end_ids:
            return "stop"
        if self.sampling.stop and self.say(beam, prompt_ids).finish_reason == "stop":
            return "stop"
        if len(beam.tokens) >= self.sampling.max_new_tokens:
            return "length"
        full = self.context is not None and len(prompt_ids) + len(beam.tokens) > self.context
        return "context" if full else None

    def say(self, beam: Beam, prompt_ids: Sequence[int]) -> Row:
        voice = self.vocabulary.voice(prompt_ids, self.sampling.stop)
        row = Row(beam.prompt, prompt_ids, 0, voice, list(beam.tokens), list(beam.logprobs))
        row.finish_reason = beam.finish_reason
        if voice is None:
            return row
        row.pieces += [voice.say(token) for token in beam.tokens if token not in self.vocabulary.end_ids]
        row.pieces.append(voice.finish())
        if voice.stopped:
            row.finish_reason = "stop"
        return row


@torch.inference_mode()
def search(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    vocabulary: Vocabulary,
    state: State | None = None,
) -> list[list[Row]]:
    """Return the `n` best texts of each prompt, best first, by log-probability ÷ length ** length_penalty.

    A `state` with a row for each prompt is what was read before them, such as sources; it is consumed. With
    `coverage_penalty` β a text's score also has β · Σ ln min(1, Σ attention) over the places of its source (Wu et
    al. 2016). Raises ValueError when the model attends to no source then.

    A prompt's search ends when `num_beams` whole texts are found and, without `early_stopping`, nothing better is to
    be expected, or at the length or context limit. A beam of one is greedy decoding.
    """
    check_prompts(model, prompts, sampling, vocabulary)
    with evaluating(model):
        searches = [_Search(number, ids, [Beam(number)]) for number, ids in enumerate(prompts)]
        rules = _Rules(sampling, vocabulary, model.context)
        _run(model, searches, rules, state)
    return [[rules.say(beam, one.prompt_ids) for beam in _best(one, sampling)] for one in searches]


def _run(model: LanguageModel, searches: list[_Search], rules: _Rules, before: State | None) -> None:
    device = model.device
    transforms = all_transforms(model, rules.sampling, rules.vocabulary)
    prompts = [one.prompt_ids for one in searches]
    capacity = max(map(len, prompts)) + rules.sampling.max_new_tokens
    prediction = read_all(model, prompts, min(capacity, model.context or capacity), before)
    sizes = torch.tensor([len(prompt) for prompt in prompts], device=device)
    coverage = _Coverage(rules.sampling.coverage_penalty, prediction, sizes)
    values, state = prediction.values[:, -1], prediction.state
    going, kinship = searches, _Kinship.strangers(len(searches))
    while True:
        logits = values.float()
        beams = [beam for one in going for beam in one.live]
        logprobs = scores = check_numbers(logits.log_softmax(-1))
        if transforms:
            read_before = [searches[beam.prompt].prompt_ids for beam in beams]
            history = History(read_before, [list(beam.tokens) for beam in beams], model.vocab_size, device)
            # A beam of one is greedy decoding, whose transforms act on logits; those of beams act on log-probabilities.
            if rules.sampling.num_beams == 1:
                scores = logits
            for transform in transforms:
                scores = transform(scores, history)
            if rules.sampling.renormalize_logits:
                scores = scores.log_softmax(-1)
        parents = _extend(going, logprobs, scores, rules, coverage.costs(len(beams)))
        going = [one for one in going if one.live]
        if not going:
            return
        tokens = torch.tensor([[beam.tokens[-1]] for one in going for beam in one.live], device=device)
        assert state is not None
        prediction = model(tokens, kinship.passed_on(state, parents, device), ask=Last())
        kinship = kinship.children(parents)
        coverage = coverage.after(torch.tensor(parents, device=device), prediction)
        values, state = prediction.values[:, -1], prediction.state


@dataclass(frozen=True)
class _Kinship:
    """In how many of their last tokens two beams may differ: `apart` (beams, beams), huge for other prompts."""

    apart: Tensor

    @classmethod
    def strangers(cls, beams: int) -> _Kinship:
        """Return the kinship of beams of different prompts."""
        return cls(torch.full((beams, beams), _STRANGERS).fill_diagonal_(0))

    def children(self, parents: Sequence[int]) -> _Kinship:
        """Return the kinship of beams that have said a token more than their parents."""
        rows = torch.tensor(parents)
        return _Kinship((self.apart[rows[:, None], rows] + 1).fill_diagonal_(0))

    def passed_on(self, state: State, parents: Sequence[int], device: torch.device) -> State:
        """Return the state of the parents, a row for each child; the old one is consumed."""
        rows = torch.tensor(parents)
        if isinstance(state, SiblingState) and len(rows) == len(self.apart):
            recent = self.apart[torch.arange(len(rows)), rows]
            if int(recent.max()) < _STRANGERS:
                return state.replace(rows.to(device), recent.to(device))
        return state.select(rows.to(device))


_STRANGERS = 2**40


class _Coverage:
    """How much each beam has listened to each place of its source, and what the neglected places cost."""

    def __init__(
        self,
        penalty: float,
        prediction: Prediction,
        sizes: Tensor | None = None,
        heard: Tensor | None = None,
    ) -> None:
        """`sizes` says how many tokens of each row of the prediction are real; none: all."""
        self._penalty, self._heard = penalty, heard
        if not penalty:
            return
        if prediction.attention is None:
            raise ValueError("coverage_penalty is for models that attend to a source; leave it out")
        new = prediction.attention  # (rows, time, places)
        if sizes is not None:
            new = new * (torch.arange(new.shape[1], device=new.device) < sizes[:, None])[..., None]
        self._heard = new.sum(1) if heard is None else heard + new.sum(1)

    def after(self, parents: Tensor, prediction: Prediction) -> _Coverage:
        """Return the coverage of the beams that went on, with what their new tokens heard."""
        return _Coverage(
            self._penalty, prediction, None, None if self._heard is None else self._heard[parents]
        )

    def costs(self, beams: int) -> list[float]:
        """Return what each beam's neglected places cost."""
        if self._heard is None:
            return [0.0] * beams
        # A place that is padding is never heard of at all.
        kept = self._heard.clamp(max=1).log().masked_fill(self._heard <= 0, 0.0)
        costs: list[float] = (self._penalty * kept.sum(-1)).tolist()
        return costs


def _extend(
    going: list[_Search], logprobs: Tensor, scores: Tensor, rules: _Rules, coverage: Sequence[float]
) -> list[int]:
    """Grow every search by one token; returns the row from which each beam that goes on has come."""
    width = rules.sampling.num_beams
    # Even if every beam can end in every way, enough go on.
    count = width * (1 + rules.most_endings)
    best = scores.topk(min(count, scores.shape[-1]))
    found = (best.values.tolist(), best.indices.tolist(), logprobs.gather(1, best.indices).tolist())
    parents: list[int] = []
    first = 0
    for one in going:
        candidates = sorted(
            (
                (beam.score + score, row, token, logprob)
                for row, beam in enumerate(one.live, first)
                for score, token, logprob in zip(*(part[row] for part in found), strict=True)
            ),
            key=lambda candidate: -candidate[0],
        )[:count]
        grown: list[Beam] = []
        origins: list[int] = []
        for rank, (score, row, token, logprob) in enumerate(candidates):
            if score == float("-inf") or len(grown) == width:
                break
            old = one.live[row - first]
            said = Beam(one.prompt, (*old.tokens, token), (*old.logprobs, logprob), score, coverage[row])
            reason = rules.ending(said, one.prompt_ids)
            if reason is None:
                grown.append(said)
                origins.append(row)
            elif rank < width:
                one.whole.append(_finish(said, reason, rules))
        first += len(one.live)
        one.live = grown
        if rules.done(one):
            one.live = []
        parents += origins if one.live else []
    return parents


def _finish(beam: Beam, reason: Reason, rules: _Rules) -> Beam:
    score = rules.worth(beam, len(beam.tokens)) + beam.coverage
    return Beam(beam.prompt, beam.tokens, beam.logprobs, score, beam.coverage, reason)


def _best(one: _Search, sampling: Sampling) -> list[Beam]:
    return sorted(one.whole, key=lambda beam: -beam.score)[: sampling.n]
