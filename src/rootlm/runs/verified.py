"""Two openings of one model, held against each other: ids of a hundred texts and the logits on them."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from rootlm.core.files import read_json
from rootlm.core.foreign_words import refusing
from rootlm.models.adapted import merged
from rootlm.models.catalog import CONFIG
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.encoder_decoder import EncoderDecoderConfig
from rootlm.models.foreign.hugging_face_folder import is_gguf, is_published, open_folder
from rootlm.models.foreign.registry import FAMILIES
from rootlm.models.interface import Encoder, LanguageModel, Source, SourceModel
from rootlm.runs.opened import Run, load
from rootlm.runs.parity_texts import TEXTS, TURNS, Turns

TOLERANCE = 1e-3
"""By how much logits in float32 may differ, for each unit of their standard deviation (1 at least)."""


APART = -1
"""Stands between the ids of a source and those of an answer."""


class IdSide(Protocol):
    """One opening of a model, as far as it turns texts into ids."""

    name: str
    opened_by: str
    """Which library opened it."""
    context: int | None

    def ids(self, text: str) -> list[int]:
        """Return the ids of plain text, without begin or end."""
        ...

    def prompt_ids(self, text: str) -> list[int]:
        """Return what the model reads when a person gives it a text."""
        ...

    def turns(self, turns: Turns) -> tuple[str, list[int]] | None:
        """Return a conversation as text and ids; None without a chat template."""
        ...


class Side(IdSide, Protocol):
    """One opening of a model."""

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits after each id (ids, vocabulary), float32; at each id where a model reads both ways.

        An encoder without an output over tokens gives its stream instead.
        """
        ...


@dataclass(frozen=True)
class Verified:
    """What was compared, and how much it differed."""

    first: str
    second: str
    """Who opened each of the two."""
    texts: int
    largest: float
    """The largest difference of two logits."""
    deviation: float
    """The standard deviation of the logits."""
    where: str
    """The text with the largest difference."""
    unlike: tuple[str, ...]
    """What went wrong other than that, a sentence each."""
    tolerance: float = TOLERANCE

    @property
    def allowed(self) -> float:
        """The largest difference that is allowed."""
        return self.tolerance * max(1.0, self.deviation)

    @property
    def agrees(self) -> bool:
        """Whether the two are one model."""
        return not self.unlike and self.largest <= self.allowed

    @property
    def sentence(self) -> str:
        """What a person wants to know."""
        if self.unlike:
            more = f" (and {len(self.unlike) - 1} more)" if len(self.unlike) > 1 else ""
            return f"{self.unlike[0]}{more}"
        said = "differ by at most" if self.agrees else "differ by"
        return (
            f"ids of {self.texts} texts are the same; logits {said} {self.largest:.1e}, {self.allowed:.1e} is allowed "
            f"(their standard deviation is {self.deviation:.2f}; {self.first} beside {self.second})"
        )


class OwnSide:
    """A run, or what our own reader makes of a folder."""

    opened_by = "rootlm"

    def __init__(self, folder: Path, *, weights: torch.dtype | None = None) -> None:
        """Open it in float32; `weights` rounds its weights to a type first."""
        self.name, self._weights = str(folder), weights
        run = load(folder, device="cpu", precision="float32")
        if weights is not None:
            run.model.to(weights).float()
        self.run: Run = run
        self.model: LanguageModel | Encoder = (
            run.encoder if isinstance(run.model, Encoder) else run.language_model
        )
        self.context = self.model.context

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Compute with other weights, by our names; what adapters say is then forgotten."""
        if self.model.adaptation is not None:
            merged(self.model)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                given = tensors[name]
                parameter.copy_(given if self._weights is None else given.to(self._weights))

    def ids(self, text: str) -> list[int]:
        """Return the ids of plain text, as a source where the model reads one."""
        return (self.run.source_tokenizer or self.run.tokenizer).encode(text)

    def prompt_ids(self, text: str) -> list[int]:
        """Return begin mark and ids; what an encoder reads ends with a mark as well; a source and an answer."""
        if isinstance(self.model, SourceModel):
            source, begun = self.run.writer.asked(text)
            return [*source, APART, *begun, *self.run.tokenizer.encode(text)]
        if isinstance(self.model, Encoder):
            return self.run.tokenizer.framed(self.ids(text))
        return [self.run.tokenizer.bos_id, *self.ids(text)]

    def turns(self, turns: Turns) -> tuple[str, list[int]] | None:
        """Return a conversation as text and ids."""
        tokenizer = self.run.tokenizer
        if not tokenizer.chat_templates:
            return None
        text = tokenizer.render(turns, add_generation_prompt=True).text
        return text, tokenizer.encode_marked(text)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits after each id, or at each."""
        if isinstance(self.model, SourceModel):
            source, target = (torch.tensor([part]) for part in apart(ids))
            answered: Tensor = self.model(target, source=Source(source)).values[0]
            return answered.float()
        tokens = torch.tensor([list(ids)])
        if isinstance(self.model, Encoder):
            hidden: Tensor = self.model(tokens)
            return (self.model.predict(hidden) if self.model.predicts else hidden)[0].float()
        found: Tensor = self.model(tokens).values[0]
        return found.float()


class TransformersSide:
    """A Hugging Face folder, opened by `transformers` in float32; no code from the folder is run."""

    def __init__(self, folder: Path) -> None:
        import transformers

        self.name, self.opened_by = str(folder), f"transformers {transformers.__version__}"
        opener, before = getattr(transformers, opener_of(folder)), transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            with refusing(self.name, "transformers"):
                self._model = opener.from_pretrained(
                    folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
                ).eval()
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        finally:
            transformers.logging.set_verbosity(before)
        self.context = getattr(self._model.config, "max_position_embeddings", None)
        self._answers = bool(self._model.config.is_encoder_decoder)

    def change(self, how: Callable[[Any], Any]) -> None:
        """Put something on the model, such as adapters."""
        self._model = how(self._model)

    def ids(self, text: str) -> list[int]:
        """Return the ids of plain text."""
        with refusing(self.name, "transformers", "has no ids for a text"):
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt_ids(self, text: str) -> list[int]:
        """Return what the tokenizer makes of a text by itself; of a source, and what an answer begins with."""
        with refusing(self.name, "transformers", "has no ids for a text"):
            read = list(self._tokenizer(text)["input_ids"])
        if not self._answers:
            return read
        said = self._model.generation_config
        begun = [id_ for id_ in (said.decoder_start_token_id, said.forced_bos_token_id) if id_ is not None]
        target = self._tokenizer(text_target=text, add_special_tokens=False)["input_ids"]
        return [*read, APART, *begun, *target]

    def turns(self, turns: Turns) -> tuple[str, list[int]] | None:
        """Return a conversation as text and ids."""
        if not self._tokenizer.chat_template:
            return None
        with refusing(self.name, "transformers", "has no text for these turns"):
            text = self._tokenizer.apply_chat_template(
                list(turns), tokenize=False, add_generation_prompt=True
            )
        return text, self.ids(text)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits after each id."""
        with refusing(self.name, "transformers", "cannot compute it"):
            if self._answers:
                source, target = (torch.tensor([part]) for part in apart(ids))
                answer: Tensor = self._model(input_ids=source, decoder_input_ids=target).logits[0]
                return answer.float()
            said = self._model(torch.tensor([list(ids)]))
            found: Tensor = said.logits[0] if "logits" in said else said.last_hidden_state[0]
            return found.float()


def opener_of(folder: Path) -> str:
    """Return which door of `transformers` opens a folder with its output over tokens, or without where it has none."""
    family = FAMILIES.get(str(read_json(folder / CONFIG).get("model_type")))
    if family is not None and issubclass(family.kind, EncoderDecoderConfig):
        return "AutoModelForSeq2SeqLM"
    if family is None or not issubclass(family.kind, EncoderConfig):
        return "AutoModelForCausalLM"
    config = open_folder(folder).config
    return "AutoModelForMaskedLM" if isinstance(config, EncoderConfig) and config.predicts else "AutoModel"


def has_transformers() -> bool:
    """Tell whether `transformers` is installed."""
    return importlib.util.find_spec("transformers") is not None


def open_side(folder: Path, *, foreign: bool = True) -> Side:
    """Open a run, or a Hugging Face folder by `transformers` where it is installed and `foreign` is wanted."""
    if not folder.is_dir() and not is_gguf(folder):
        raise ValueError(f"{folder}: no such folder; name a run or a folder of Hugging Face's")
    if foreign and has_transformers() and is_published(folder) and not is_gguf(folder):
        return TransformersSide(folder)
    return OwnSide(folder)


def compare(first: Side, second: Side, *, prompts: bool = False, tolerance: float = TOLERANCE) -> Verified:
    """Compare ids and logits of a hundred texts, and of conversations where there is a chat template.

    With `prompts` what is read when a person gives a text must be the same too: the begin mark. Of an encoder–decoder
    that is always compared: the marks of a source, and how an answer begins.
    """
    read, unlike = compare_ids(first, second, prompts=prompts)
    if unlike:
        opened = (first.opened_by, second.opened_by)
        return Verified(*opened, len(read), math.nan, math.nan, "", tuple(unlike), tolerance)
    return _logits(first, second, read, tolerance)


def compare_ids(
    first: IdSide, second: IdSide, *, prompts: bool = False
) -> tuple[list[tuple[str, list[int]]], list[str]]:
    """Return every text with its ids, as the first reads it, and what the second reads otherwise."""
    unlike: list[str] = []
    read: list[tuple[str, list[int]]] = []
    for text in TEXTS:
        one, other = first.ids(text), second.ids(text)
        _note(unlike, f"ids of {text!r}", one, other)
        if prompts or APART in first.prompt_ids(text):
            _note(unlike, f"ids of the prompt {text!r}", first.prompt_ids(text), second.prompt_ids(text))
        read.append((text, first.prompt_ids(text)))
    for number, turns in enumerate(TURNS, 1):
        said = _conversation(first, second, turns, f"conversation {number}", unlike)
        if said is not None:
            read.append(said)
    return read, unlike


def _conversation(
    first: IdSide, second: IdSide, turns: Turns, name: str, unlike: list[str]
) -> tuple[str, list[int]] | None:
    """Return a conversation's text and ids; None where there is no template or it refuses these turns."""
    found = []
    for side in (first, second):
        try:
            found.append(side.turns(turns))
        except ValueError:
            found.append(None)
    one, other = found
    if one is None or other is None:
        if one is not other:
            unlike.append(f"{name}: {(first if one is None else second).opened_by} has no text for it")
        return None
    if one[0] != other[0]:
        unlike.append(f"{name}: its texts differ: {one[0]!r} beside {other[0]!r}")
    _note(unlike, f"ids of {name}", one[1], other[1])
    return one


def _note(unlike: list[str], what: str, one: Sequence[int], other: Sequence[int]) -> None:
    if list(one) != list(other):
        place = next(
            (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        shown = [list(ids[place : place + 4]) for ids in (one, other)]
        unlike.append(f"{what} differ from place {place} on: {shown[0]} beside {shown[1]}")


def _logits(first: Side, second: Side, read: Sequence[tuple[str, list[int]]], tolerance: float) -> Verified:
    contexts = [side.context for side in (first, second) if side.context is not None]
    longest = min(contexts, default=None)
    largest, where, unlike = 0.0, "", list[str]()
    count, total, squares = 0, 0.0, 0.0
    for text, ids in read:
        kept = _shortened(ids, longest)
        if not kept:
            continue  # a template that writes nothing
        one, other = first.logits(kept), second.logits(kept)
        if one.shape != other.shape:
            unlike.append(f"logits are {tuple(one.shape)} beside {tuple(other.shape)}")
            break
        difference = float((one - other).abs().max())
        if not difference <= largest:
            largest, where = difference, text
        wide = one.double()
        count, total = count + wide.numel(), total + float(wide.sum())
        squares += float(wide.square().sum())
    deviation = math.sqrt(max(0.0, squares / count - (total / count) ** 2)) if count else math.nan
    if math.isnan(largest) or math.isnan(deviation):
        unlike.append(f"logits of {where!r} are no numbers")
    opened = (first.opened_by, second.opened_by)
    return Verified(*opened, len(read), largest, deviation, where, tuple(unlike), tolerance)


def apart(ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the ids of a source and those of an answer."""
    place = list(ids).index(APART)
    return list(ids[:place]), list(ids[place + 1 :])


def _shortened(ids: Sequence[int], longest: int | None) -> list[int]:
    """Return ids that a context can hold; a source and an answer each for itself."""
    if APART not in ids:
        return list(ids[:longest])
    source, target = apart(ids)
    return [*source[:longest], APART, *target[:longest]]


def verify(first: Path, second: Path, *, foreign: bool = True, tolerance: float = TOLERANCE) -> Verified:
    """Compare two runs or folders; raises ValueError for a folder that cannot be opened.

    The first is opened by rootlm's own reader, the second, where it is Hugging Face's and `foreign` is wanted, by
    `transformers`.
    """
    return compare(OwnSide(first), open_side(second, foreign=foreign), tolerance=tolerance)
