"""Prompts in, texts out: the decoding loop and beam search, spoken through a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rootlm.generation.answering import Answering
from rootlm.generation.back_translation import reordered
from rootlm.generation.beam import search
from rootlm.generation.decoding import decode, evaluating
from rootlm.generation.rows import Row, Vocabulary
from rootlm.generation.sampling import Sampling
from rootlm.generation.stopping import Reason
from rootlm.models.interface import LanguageModel, SourceModel, State
from rootlm.tokenizers.chat_template import Message
from rootlm.tokenizers.tokenizer import Tokenizer

Prompt = str | Sequence[Message]
"""A text to be continued, or the turns of a conversation, as role and content, to be answered."""
_ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Generation:
    """One text that a model wrote after a prompt."""

    prompt: str
    text: str
    """What was written; the prompt is not repeated."""
    tokens: tuple[int, ...]
    """Every token chosen, the end token or a stop string's included."""
    logprobs: tuple[float, ...]
    """ln p of each token by the model itself, before temperature and the like."""
    finish_reason: Reason | None
    """`stop`, `length` (max_new_tokens) or `context` (the model can read no more)."""
    seed: int | None
    """Writes this text again as the only sample; None where nothing was drawn."""
    readings: int = 0
    """How often the model was asked what comes next; with `speculate`, less often than it chose a token."""
    guessed: int = 0
    """Tokens that were guessed with `speculate`."""
    held: int = 0
    """Those of them that were chosen."""


@dataclass(frozen=True)
class Writer:
    """A model with its tokenizer; `end_ids` end a text, the tokenizer's end token when empty."""

    model: LanguageModel
    tokenizer: Tokenizer
    end_ids: frozenset[int] = frozenset()
    source_tokenizer: Tokenizer | None = None
    """What reads sources, where that is another one."""
    answering: Answering | None = None
    """How a published encoder–decoder answers."""
    draft: LanguageModel | None = None
    """What guesses ahead where `speculate` names a draft; it has the same tokenizer."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[list[Generation]]:
        """Write `n` texts after each prompt; prompts are read side by side, the answers keep their order."""
        texts, ids = [], []
        for prompt in prompts:
            text, read = self._asked_by(prompt)
            texts.append(text)
            ids.append(read)
        results: list[list[Generation]] = [[] for _ in prompts]
        for chosen in _together(ids, sampling):
            for number, rows in zip(chosen, self._write([ids[n] for n in chosen], sampling), strict=True):
                results[number] = [_finished(row, texts[number], sampling) for row in rows]
        return results

    def answer(self, sources: Sequence[str], sampling: Sampling) -> list[list[Generation]]:
        """Write `n` texts after reading each source, such as its translation; `prompt` is then the source.

        Raises ValueError for an empty source, one that is too long, and for a model that reads none.
        """
        model = self.model
        if not isinstance(model, SourceModel):
            raise ValueError(f"a {model.config.kind} reads no source; name the run of an encoder–decoder")
        ids = [self._read(source) for source in sources]
        for number, (source, read) in enumerate(zip(sources, ids, strict=True), 1):
            if not source.strip():
                raise ValueError(f"source {number} is empty: there is nothing to read; give a text")
            if model.context is not None and len(read) > model.context:
                raise ValueError(
                    f"source {number} has {len(read):,} tokens, the end included, and the model reads at most "
                    f"{model.context:,}; give it in parts"
                )
        results: list[list[Generation]] = [[] for _ in sources]
        for chosen in _together(ids, sampling):
            for number, rows in zip(chosen, self._answered([ids[n] for n in chosen], sampling), strict=True):
                results[number] = [
                    self._cut(_finished(row, sources[number], sampling), sampling) for row in rows
                ]
        return results

    def _read(self, source: str) -> list[int]:
        """Return the ids of a source with its marks."""
        reader = self.source_tokenizer or self.tokenizer
        ids = reader.encode(source)
        return [*ids, reader.eos_id] if self.answering is None else reader.framed(ids)

    def asked(self, source: str) -> tuple[list[int], list[int]]:
        """Return the ids of a source with its marks, and those that an answer begins with."""
        begin = self.tokenizer.bos_id
        return self._read(source), [begin] if self.answering is None else self.answering.begun(begin)

    def _within(self, sampling: Sampling) -> Sampling:
        """Return the settings for what follows the tokens that an answer must begin with."""
        if self.answering is None or self.answering.first is None:
            return sampling
        return sampling.changed({"max_new_tokens": max(1, sampling.max_new_tokens - 1)})

    def _cut(self, one: Generation, sampling: Sampling) -> Generation:
        """Say that an answer was cut where the end was put there for its length."""
        if self.answering is None or len(one.tokens) < self._within(sampling).max_new_tokens:
            return one
        return replace(one, finish_reason="length") if one.tokens[-1] == self.answering.last else one

    def _answered(self, sources: list[list[int]], sampling: Sampling) -> list[list[Row]]:
        """Write `n` texts after reading each of some sources, ids with the end mark."""
        model, begin, end = self.model, self.tokenizer.bos_id, self.tokenizer.eos_id
        assert isinstance(model, SourceModel)
        # What is weighed anew is all that was found.
        sampling = self._within(sampling)
        wide = sampling.changed({"n": sampling.num_beams}) if sampling.reverse_weight else sampling
        with evaluating(model):
            with torch.inference_mode():
                state = model.read(*_padded(sources, model.device))
            _, begun = self.asked("")
            found = self._write([begun] * len(sources), wide, state)
            return (
                reordered(model, sources, found, sampling, (begin, end)) if sampling.reverse_weight else found
            )

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str | Generation]:
        """Yield each piece of one text as soon as it may be shown, at last the whole as a `Generation`.

        Pieces hold whole characters and nothing of a stop string. Raises ValueError where n or num_beams is
        above 1.
        """
        if sampling.n > 1 or sampling.num_beams > 1:
            raise ValueError("only a single text can be streamed; leave out n and num_beams, or generate")
        shown = 0
        row: Row | None = None
        text, ids = self._asked_by(prompt)
        for (row,) in self._decode([ids], sampling):
            for piece in row.pieces[shown:]:
                if piece:
                    yield piece
            shown = len(row.pieces)
        assert row is not None
        yield _finished(row, text, sampling)

    @property
    def vocabulary(self) -> Vocabulary:
        """What ids mean to it."""
        return Vocabulary.of(self.tokenizer, self.end_ids, self.model.vocab_size, answering=self.answering)

    def _asked_by(self, prompt: Prompt) -> tuple[str, list[int]]:
        """Return a prompt as text and ids; a conversation as its chat template writes it, the answer invited."""
        if isinstance(prompt, str):
            return prompt, self.tokenizer.prompt(prompt)
        text = self.tokenizer.render(prompt, add_generation_prompt=True).text
        return text, self.tokenizer.encode_marked(text)

    def _decode(
        self, prompts: list[list[int]], sampling: Sampling, state: State | None = None
    ) -> Iterator[list[Row]]:
        return decode(self.model, prompts, sampling, self.vocabulary, state, draft=self.draft)

    def _write(
        self, prompts: list[list[int]], sampling: Sampling, state: State | None = None
    ) -> list[list[Row]]:
        if sampling.num_beams > 1:
            return search(self.model, prompts, sampling, self.vocabulary, state)
        rows: list[list[Row]] = [[] for _ in prompts]
        for number, grown in enumerate(self._decode(prompts, sampling, state)):
            if number == 0:
                for row in grown:
                    rows[row.prompt].append(row)
        return rows


def _together(ids: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[list[int]]:
    """Yield the numbers of texts that are read side by side."""
    # Alike in length, alike in time: little padding, and rows that end together.
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    together = max(1, _ROWS_AT_ONCE // max(sampling.n, sampling.num_beams))
    return (order[first : first + together] for first in range(0, len(order), together))


def _padded(ids: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids side by side (rows, places), right-padded, and how many are real, (rows,)."""
    lengths = torch.tensor([len(row) for row in ids], device=device)
    rows = [torch.tensor(row, device=device) for row in ids]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


def _finished(row: Row, prompt: str, sampling: Sampling) -> Generation:
    drawn = not sampling.greedy and sampling.num_beams == 1
    seed = row.seed if drawn else None
    return Generation(
        prompt,
        row.text,
        tuple(row.tokens),
        tuple(row.logprobs),
        row.finish_reason,
        seed,
        row.readings,
        row.guessed,
        row.held,
    )
