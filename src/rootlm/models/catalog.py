"""Every model by its kind: built from a config, saved to a folder, loaded from one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rootlm.core.config import Config, to_plain, validate
from rootlm.core.files import read_json, write_bytes, write_json
from rootlm.layers.adapters import is_adapters
from rootlm.layers.quantised import Quantised
from rootlm.layers.unfilled import unfilled
from rootlm.models.adaptation import Adaptation
from rootlm.models.adapted import fill_adapter, merged
from rootlm.models.attention_rnn import RecurrentEncoderDecoderConfig
from rootlm.models.convolutional import ConvolutionalConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.encoder_config import EncoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.feedforward_lm import FeedForwardLMConfig
from rootlm.models.foreign.hugging_face_folder import is_published, open_folder
from rootlm.models.interface import Network
from rootlm.models.ngram_settings import NgramConfig
from rootlm.models.recurrent import RecurrentConfig

ModelConfig = Annotated[
    DecoderConfig
    | NgramConfig
    | RecurrentConfig
    | ConvolutionalConfig
    | FeedForwardLMConfig
    | EncoderConfig
    | EncoderDecoderConfig
    | RecurrentEncoderDecoderConfig,
    Field(discriminator="kind"),
]
"""Every model a recipe may name, told apart by `kind`."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class SavedModel(Config):
    """What `config.json` holds."""

    model_type: str
    """Always `rootlm`: the network is the one described under `model`."""
    vocab_size: int
    """Ids the model knows."""
    model: ModelConfig
    """The network, every choice written out."""
    adaptation: Adaptation | None = None
    """Where the weights beside this file are only what was learned on a base: how, and which."""


def describe(model: Network) -> dict[str, Any]:
    """Return what `config.json` says of a model, as plain data."""
    saved = SavedModel(
        model_type="rootlm", vocab_size=model.vocab_size, model=model.config, adaptation=model.adaptation
    )
    plain = to_plain(saved)
    if saved.adaptation is None:
        del plain["adaptation"]
    return plain


def weights(model: Network) -> dict[str, Tensor]:
    """Return the model's tensors by name, each once: a tied head is left out.

    Raises ValueError for a model whose weights were rounded to fewer bits.
    """
    if any(isinstance(part, Quantised) for part in model.modules()):
        raise ValueError("weights in fewer bits are for reading only; open the run with weights=stored")
    return {name: parameter.data for name, parameter in model.named_parameters()} | dict(_kept_buffers(model))


def learned(model: Network) -> dict[str, Tensor]:
    """Return what training changes and a run keeps: all weights, or those of an adapter and what its base lacked."""
    if model.adaptation is None:
        return weights(model)
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def _kept_buffers(model: Network) -> Iterator[tuple[str, Tensor]]:
    saved = model.state_dict()
    return ((name, buffer) for name, buffer in model.named_buffers() if name in saved)


def save_model(model: Network, folder: Path, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write `config.json` and `model.safetensors`, each atomically; `tensors` stand in for the model's own."""
    held = learned(model) if tensors is None else tensors
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in held.items()}
    write_bytes(folder / WEIGHTS, save(dict(tensors), metadata={"format": "pt"}))
    write_json(folder / CONFIG, describe(model))


def load_model(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Network:
    """Open a model saved by `save_model`, or a published one, in evaluation mode; `dtype` None keeps the type on disk.

    Raises ValueError naming the file that is missing, torn, or does not fit the config.
    """
    if is_published(folder):
        return open_folder(folder).network(dtype=dtype, device=device)
    saved, held = read_saved(folder), read_weights(folder / WEIGHTS, device)
    with unfilled():
        model = saved.model.build(saved.vocab_size)
    if saved.adaptation is None:
        fill(model, held, folder / WEIGHTS)
    else:
        base = saved.adaptation.base.found(folder)
        whole = {name: tensor.to(device) for name, tensor in read_tensors(base).items()}
        added = {name: tensor for name, tensor in held.items() if not is_adapters(name)}
        fill(model, {**whole, **added}, base)
        fill_adapter(model, saved.adaptation, held, folder / WEIGHTS)
    if dtype is not None:
        model.to(dtype)
    return model.eval()


def read_saved(folder: Path) -> SavedModel:
    """Return what a folder's `config.json` says, rootlm's or another library's, in our words.

    Raises ValueError naming the key of another library's that is not supported, and the file when it is neither.
    """
    if is_published(folder):
        other = open_folder(folder)
        said: dict[str, Any] = {"model_type": "rootlm", "vocab_size": other.vocab_size, "model": other.config}
        return SavedModel.model_construct(None, **said)
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; name a run, or a folder or GGUF file of another library's"
        )
    data = read_json(folder / CONFIG)
    if not isinstance(data, dict):
        raise ValueError(f"{folder / CONFIG}: holds a {type(data).__name__}, expected keys and values")
    if data.get("model_type") != "rootlm":
        raise ValueError(
            f"{folder / CONFIG}: names no model_type, so nothing says what the network is; add the family's name"
        )
    try:
        return validate(SavedModel, data)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return a saved or published model's tensors by our names, in the type on disk; adapters merged."""
    if is_published(folder):
        return {one.name: one.make() for one in open_folder(folder).named()}
    if read_saved(folder).adaptation is not None:
        return weights(merged(load_model(folder)))
    return read_weights(folder / WEIGHTS)


def read_weights(file: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; raises ValueError when it is missing or torn."""
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise ValueError(f"{file}: missing; this folder holds no finished model") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); the file is torn, copy it again") from error


def fill(model: Network, tensors: dict[str, Tensor], file: Path) -> None:
    """Put tensors into a model by name; raises ValueError naming the first that is missing, extra or misshapen."""
    model.make_room({name: tensor.shape for name, tensor in tensors.items()})
    wanted = weights(model)
    for name, tensor in wanted.items():
        if name not in tensors:
            raise ValueError(f"{file}: holds no {name}; the file belongs to another model")
        if tensors[name].shape != tensor.shape:
            found, expected = tuple(tensors[name].shape), tuple(tensor.shape)
            raise ValueError(
                f"{file}: {name} is {found}, the model needs {expected}; the file belongs to another model"
            )
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise ValueError(
            f"{file}: holds {extra[0]}, which the model does not have; the file belongs to another model"
        )
    if any(tensor.is_meta for tensor in wanted.values()):
        model.load_state_dict(tensors, strict=False, assign=True)
        model.tie()
    else:
        model.load_state_dict(tensors, strict=False)
