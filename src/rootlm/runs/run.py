"""A finished run in memory: it speaks, scores text and says how good it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rootlm.generation.answering import Answering
from rootlm.generation.sampling import DraftConfig, Sampling
from rootlm.generation.texts import Generation, Writer
from rootlm.layers.pooling import Pooling
from rootlm.layers.quantising import Quantisation
from rootlm.models.interface import Encoder, LanguageModel, Network
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.sentence_folders import SentenceWay
from rootlm.text.document import Document
from rootlm.tokenizers.chat_template import Message
from rootlm.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rootlm.evaluation.figures import Evaluation
    from rootlm.evaluation.filling import Filling
    from rootlm.evaluation.likelihood import Scored
    from rootlm.evaluation.translation import Translated
    from rootlm.generation.next_words import NextWord


@dataclass(frozen=True)
class Run:
    """A model with its tokenizer, and the settings it was made with."""

    folder: Path
    model: Network
    tokenizer: Tokenizer
    sampling: Sampling = field(default_factory=Sampling)
    """How it chooses tokens unless told otherwise."""
    end_ids: frozenset[int] = frozenset()
    """Ids that end a text; the tokenizer's end token when empty."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The resolved recipe as plain data; empty where the folder has none."""
    source_tokenizer: Tokenizer | None = None
    """What reads sources, where that is another tokenizer."""
    way: SentenceWay = field(default_factory=SentenceWay)
    """How a text becomes a vector unless told otherwise."""
    answering: Answering | None = None
    """How it answers, where it is a published encoder–decoder."""
    quantised: Quantisation | None = None
    """What became of its weights, where they are kept in fewer bits."""
    _drafts: dict[str, LanguageModel] = field(default_factory=dict, repr=False, compare=False)

    def generate(self, prompt: str | Sequence[str], **settings: Any) -> Any:
        """Continue a prompt, or each of several; settings are those of `Sampling`, such as temperature=0.7.

        A text gives a text, a list a list of texts; with n above 1 each text is a list of n.
        """
        texts = [[one.text for one in several] for several in self.generations(prompt, **settings)]
        one_each = self.sampling_with(settings).n == 1
        answers = [several[0] for several in texts] if one_each else texts
        return answers[0] if isinstance(prompt, str) else answers

    def generations(self, prompts: str | Sequence[str], **settings: Any) -> list[list[Generation]]:
        """Return n texts for each prompt, with tokens, log-probabilities, seed and the reason they ended."""
        listed = [prompts] if isinstance(prompts, str) else list(prompts)
        sampling = self.sampling_with(settings)
        return self.writer_by(sampling).generate(listed, sampling)

    def chat(self, messages: Sequence[Message], **settings: Any) -> str:
        """Return the answer to a conversation, such as [{"role": "user", "content": "…"}], by its chat template.

        Raises ValueError where there is no template, or it refuses these turns.
        """
        sampling = self.sampling_with({**settings, "n": 1})
        ((answer,),) = self.writer_by(sampling).generate([self.conversation(messages)], sampling)
        return answer.text

    def conversation(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return turns that this run can answer; raises ValueError where it has no chat template."""
        if not self.tokenizer.chat_templates:
            raise ValueError(
                f"{self.folder}: has no chat template, so it has not learned to answer; give it a text to continue"
            )
        return messages

    def translate(self, source: str | Sequence[str], **settings: Any) -> Any:
        """Return what is written after reading a text, or each of several, such as its translation."""
        texts = [several[0].text for several in self.answers(source, **settings)]
        return texts[0] if isinstance(source, str) else texts

    def answers(self, sources: str | Sequence[str], **settings: Any) -> list[list[Generation]]:
        """Return n texts for each source, as `generations` does for prompts; `prompt` is the source."""
        listed = [sources] if isinstance(sources, str) else list(sources)
        sampling = self._answering(settings)
        return self.writer_by(sampling).answer(listed, sampling)

    def attention_picture(self, source: str, target: str) -> str:
        """Return an SVG picture of what each piece of a target listened to in its source, all heads together."""
        from rootlm.generation.attention_picture import attention_picture

        return attention_picture(self.language_model, self.tokenizer, source, target, self.source_tokenizer)

    @property
    def writes_from_sources(self) -> bool:
        """Whether it learned to write the second text of pairs from the first, such as a translation."""
        return self._objective.get("kind") == "sequence_to_sequence" or self.answering is not None

    def translations(
        self, documents: Path | Iterable[Document], split: str = "test", **settings: Any
    ) -> list[Translated]:
        """Return what is written for the pairs of a corpus folder's split, in each direction the run has learned."""
        from rootlm.evaluation.heldout import heldout
        from rootlm.evaluation.translation import translate
        from rootlm.text.raw.parallel import names_of

        pairs = list(heldout(documents, split) if isinstance(documents, Path) else documents)
        if not pairs:
            raise ValueError("there is no pair to translate; name a corpus of pairs")
        one, other = self._objective.get("direction") or names_of(pairs[0])
        ways = [(one, other), (other, one)] if self._objective.get("both_ways") else [(one, other)]
        sampling = self._answering(settings)
        return [translate(self.writer_by(sampling), pairs, way, sampling) for way in ways]

    def _answering(self, settings: Mapping[str, Any]) -> Sampling:
        sampling = self.sampling_with(settings)
        if sampling.reverse_weight and not self._objective.get("both_ways"):
            raise ValueError(
                f"{self.folder}: has not learned the other direction (objective.both_ways=true); "
                "set reverse_weight=0"
            )
        return sampling

    @property
    def _objective(self) -> Mapping[str, Any]:
        asked: Mapping[str, Any] = self.settings.get("objective") or {}
        return asked

    def stream(self, prompt: str, **settings: Any) -> Iterator[str]:
        """Yield one text piece by piece, each as soon as its characters are whole."""
        sampling = self.sampling_with(settings)
        for piece in self.writer_by(sampling).stream(prompt, sampling):
            if isinstance(piece, str):
                yield piece

    def next_words(self, prompt: str, k: int = 10) -> list[NextWord]:
        """Return the k likeliest continuations with their probabilities."""
        from rootlm.generation.next_words import next_words

        return next_words(self.language_model, self.tokenizer, prompt, k)

    def score(self, texts: str | Iterable[str | Document]) -> Iterator[Scored]:
        """Yield the cost and rank of every token of each text, in order."""
        from rootlm.evaluation.likelihood import score

        return score(self.language_model, self.tokenizer, _documents(texts))

    def evaluate(self, documents: Path | Iterable[str | Document], split: str = "test") -> Evaluation:
        """Return bits per byte, perplexity and accuracy on a corpus folder's split, files, or documents.

        An encoder's are those of hidden tokens: `Evaluation.pseudo` is then true.
        """
        from rootlm.evaluation.figures import evaluate
        from rootlm.evaluation.heldout import heldout

        source = heldout(documents, split) if isinstance(documents, Path) else _documents(documents)
        model = self.model if isinstance(self.model, Encoder) else self.language_model
        return evaluate(model, self.tokenizer, source)

    def embed(
        self, texts: str | Sequence[str], pooling: Pooling | None = None, *, normalised: bool | None = None
    ) -> Tensor:
        """Return a vector for each text, (texts, hidden).

        A folder of a sentence encoder says how; one that says nothing pools by the mean, to length 1.
        """
        from rootlm.evaluation.embeddings import embed

        listed = [texts] if isinstance(texts, str) else list(texts)
        return embed(
            self.encoder,
            self.tokenizer,
            listed,
            pooling or self.way.pooling,
            longest=self.way.longest,
            normalised=self.way.normalised if normalised is None else normalised,
        )

    def similarity(self, first: str, second: str, pooling: Pooling | None = None) -> float:
        """Return the cosine of the angle between two texts: 1 for the same, about 0 for nothing in common."""
        one, other = self.embed([first, second], pooling, normalised=True)
        return float(one @ other)

    def numbers(self, texts: Sequence[str]) -> list[float]:
        """Return the number that a regression run says of each text."""
        from rootlm.evaluation.embeddings import tell
        from rootlm.objectives.regression import HEAD

        return [float(said) for said in tell(self.encoder, self.tokenizer, texts, HEAD)[:, 0]]

    @cached_property
    def vectors(self) -> WordVectors:
        """The rows of the embedding as word vectors, by the texts of their tokens; of equal texts the first counts."""
        table = self.model.input_table.weight.detach().float().cpu().numpy()
        known = [number for number in range(self.tokenizer.vocab_size) if self.tokenizer.knows(number)]
        rows: dict[str, int] = {}
        for number in known:
            rows.setdefault(self.tokenizer.token_text(number), number)
        return WordVectors(list(rows), table[list(rows.values())])

    def fill(self, text: str, k: int = 5) -> list[list[Filling]]:
        """Return the k likeliest tokens for each `<mask>` of a text."""
        from rootlm.evaluation.filling import fill

        return fill(self.encoder, self.tokenizer, text, k)

    def sampling_with(self, settings: Mapping[str, Any]) -> Sampling:
        """Return the run's own settings with some changed; raises ValueError for what does not fit."""
        return self.sampling.changed(settings)

    @property
    def language_model(self) -> LanguageModel:
        """The model, when it predicts a next token; raises ValueError for one that does not."""
        if not isinstance(self.model, LanguageModel):
            raise ValueError(
                f"{self.folder}: holds a {self.model.config.kind}, which predicts no next token; "
                "name the run of a language model"
            )
        return self.model

    @property
    def encoder(self) -> Encoder:
        """The model, when it reads both ways; raises ValueError for one that does not."""
        if not isinstance(self.model, Encoder):
            raise ValueError(
                f"{self.folder}: holds a {self.model.config.kind}, which reads one way only; "
                "name the run of an encoder (model.kind=encoder)"
            )
        return self.model

    @property
    def writer(self) -> Writer:
        """What writes texts with this model and tokenizer."""
        return Writer(
            self.language_model, self.tokenizer, self.end_ids, self.source_tokenizer, self.answering
        )

    def writer_by(self, sampling: Sampling) -> Writer:
        """Return the writer with the draft that the settings name, which is opened once.

        Raises ValueError for a draft that has another tokenizer or is no language model.
        """
        asked = sampling.speculate
        if not isinstance(asked, DraftConfig):
            return self.writer
        if asked.model not in self._drafts:
            self._drafts[asked.model] = self._opened_draft(asked.model)
        return replace(self.writer, draft=self._drafts[asked.model])

    def _opened_draft(self, name: str) -> LanguageModel:
        from rootlm.runs.opened import load

        weights = next(self.model.parameters(), None)
        full = weights is None or weights.dtype == torch.float32
        draft = load(name, device=str(self.model.device), precision="float32" if full else "auto")
        if draft.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ValueError(
                f"{name}: has another tokenizer than {self.folder}, so its ids mean other tokens; name a draft "
                "that was trained with the same one"
            )
        return draft.language_model


def _documents(texts: str | Iterable[str | Document]) -> Iterator[Document]:
    for number, text in enumerate([texts] if isinstance(texts, str) else texts, 1):
        yield text if isinstance(text, Document) else Document(text, f"text {number}")
