"""A model opened by one library, as the comparison needs it: ids of texts, conversations, logits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from rootlm.core.files import read_json
from rootlm.core.foreign_words import refusing
from rootlm.models.adapted import merged
from rootlm.models.catalog import CONFIG
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign.hugging_face_folder import is_gguf, is_published, open_folder
from rootlm.models.foreign.registry import FAMILIES
from rootlm.models.interface import Encoder, LanguageModel, Source, SourceModel
from rootlm.runs.opened import load
from rootlm.runs.parity_texts import Turns
from rootlm.runs.run import Run

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
        return self.run.tokenizer.prompt(text)

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


def apart(ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the ids of a source and those of an answer."""
    place = list(ids).index(APART)
    return list(ids[:place]), list(ids[place + 1 :])
