"""Recurrent runs from state dicts of torch's, and back into one that torch's own modules have opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rootlm.core.config import load as load_config
from rootlm.core.config import to_yaml
from rootlm.core.files import new_folder, write_json, write_text
from rootlm.models.catalog import CONFIG, describe, read_saved, read_tensors
from rootlm.models.foreign.key_map import Tensors
from rootlm.models.foreign.safetensors_files import SINGLE, SafetensorsFiles, write_files
from rootlm.models.foreign.torch_files import TorchFiles
from rootlm.models.foreign.torch_recurrent import RecurrentNames, read_recurrent, write_recurrent
from rootlm.models.recurrent import RecurrentConfig
from rootlm.runs.export_card import Told, write_card
from rootlm.runs.exported import check, merged_side
from rootlm.runs.imported import check_empty, copy_companions, named
from rootlm.runs.manners import GENERATION_CONFIG
from rootlm.runs.opened_tokenizer import tokenizer_of
from rootlm.runs.verified import Verified, compare
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.word_list import read_word_list

KEY_MAP = "key_map.yaml"
_FILES = (".pt", ".pth", ".bin", ".safetensors")
_MODULES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_WHOLE = 1 << 62
TOLERANCE = 1e-4
"""By how much logits may differ from those of torch's modules, for each unit of their standard deviation."""


def is_state_dict(path: Path) -> bool:
    """Tell whether a path is a file of torch's tensors, or a folder that `export_torch` wrote."""
    return (path.is_file() and path.suffix in _FILES) or (path / KEY_MAP).is_file()


def import_recurrent(
    path: Path,
    out: Path,
    *,
    tokenizer: str | None = None,
    key_map: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write a run of a state dict; a folder of `export_torch` brings its key map and tokenizer along.

    Raises ValueError naming the tensor that is missing, left over or misshapen, and asking for a tokenizer.
    """
    check_empty(out)
    folder = path if path.is_dir() else None
    names_file = Path(key_map) if key_map else folder / KEY_MAP if folder else None
    names = load_config(RecurrentNames, names_file)
    words = _tokenizer(tokenizer, folder, path)
    config, vocab_size, tensors = read_recurrent(_tensors(folder / SINGLE if folder else path), names)
    if words.vocab_size > vocab_size:
        raise ValueError(
            f"{path}: its table has {vocab_size:,} rows, the tokenizer {words.vocab_size:,} tokens; "
            "they belong to different models"
        )
    with torch.device("meta"):
        model = config.build(vocab_size)
    with new_folder(out) as partial, named(partial, out):
        write_files(partial, tensors, _WHOLE)
        words.save(partial)
        write_json(partial / GENERATION_CONFIG, {"do_sample": True, "eos_token_id": words.eos_id})
        write_json(partial / CONFIG, describe(model))
    say(
        f"{out}: {config.depth} layers of {config.cell}, {config.hidden_size} wide, "
        f"{model.n_parameters():,} parameters, {vocab_size:,} ids"
    )


def export_torch(run: Path, out: Path, *, say: Callable[[str], None] = print) -> Verified:
    """Write a recurrent run as a state dict with its key map, and open it with torch's own modules.

    Raises ValueError for another kind of network, for parts that those modules lack, and when the two do not agree.
    """
    check_empty(out)
    saved, tensors, names = read_saved(run), read_tensors(run), RecurrentNames()
    if not isinstance(saved.model, RecurrentConfig):
        raise ValueError(
            f"{run}: holds a {saved.model.kind}; torch takes recurrent runs, others leave by --to hf"
        )
    config, tokenizer = saved.model.resolved(), tokenizer_of(run)
    names = names.model_copy(update={"cell": config.cell})
    with new_folder(out) as partial, named(partial, out):
        write_files(partial, write_recurrent(config, tensors, names), _WHOLE)
        write_text(partial / KEY_MAP, to_yaml(names))
        copy_companions(run, partial, tokenizer)
        say(f"{out}: written; opening it again with torch.nn.{_MODULES[config.cell]}")
        found = compare(merged_side(run, tensors, say=say), _TorchSide(partial, config), tolerance=TOLERANCE)
        check(found, out)
        told = Told(
            "pytorch",
            f"A state dict of `torch.nn.{_MODULES[config.cell]}`, written by rootlm.",
            _program(config, saved.vocab_size),
            f"Before this folder was let out it was opened by {found.second}: {found.sentence}.",
        )
        write_card(partial, run, out.resolve().name, told)
    return found


class _Network(nn.Module):
    """What the card's program builds."""

    def __init__(self, config: RecurrentConfig, vocab_size: int) -> None:
        super().__init__()
        width = config.widths[0]
        module = getattr(nn, _MODULES[config.cell])
        self.encoder = nn.Embedding(vocab_size, width)
        self.rnn = module(width, config.hidden_size, config.depth, batch_first=True)
        self.decoder = nn.Linear(config.hidden_size, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits after each id."""
        found: Tensor = self.decoder(self.rnn(self.encoder(ids))[0])
        return found


class _TorchSide:
    """The written folder, opened by torch's modules."""

    context: int | None = None

    def __init__(self, folder: Path, config: RecurrentConfig) -> None:
        held = load_file(folder / SINGLE)
        self.name, self.opened_by = (
            str(folder),
            f"torch.nn.{_MODULES[config.cell]} of torch {torch.__version__}",
        )
        self._model = _Network(config, len(held["encoder.weight"]))
        self._model.load_state_dict({name: tensor.float() for name, tensor in held.items()})
        self._tokenizer = Tokenizer.load(folder)

    def ids(self, text: str) -> list[int]:
        """Return the ids of plain text."""
        return self._tokenizer.encode(text)

    def prompt_ids(self, text: str) -> list[int]:
        """Return begin mark and ids."""
        return self._tokenizer.prompt(text)

    def turns(self, turns: object) -> None:
        """Return nothing: torch knows no conversations."""

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits after each id."""
        found: Tensor = self._model(torch.tensor([list(ids)]))[0]
        return found


def _tensors(file: Path) -> Tensors:
    if file.suffix == ".safetensors":
        return SafetensorsFiles([file], str(file))
    return TorchFiles([file], str(file))


def _tokenizer(given: str | None, folder: Path | None, path: Path) -> Tokenizer:
    if given is None and folder is None:
        raise ValueError(
            f"{path}: says nothing of its vocabulary; set tokenizer= to a tokenizer, or to a text file with one word a "
            "line in the order of their ids"
        )
    place = Path(given) if given is not None else folder
    assert place is not None
    return read_word_list(place) if place.suffix == ".txt" else Tokenizer.load(place)


def _program(config: RecurrentConfig, vocab_size: int) -> tuple[str, ...]:
    module, width = _MODULES[config.cell], config.widths[0]
    return (
        "import torch",
        "from safetensors.torch import load_file",
        "",
        "model = torch.nn.ModuleDict({",
        f'    "encoder": torch.nn.Embedding({vocab_size}, {width}),',
        f'    "rnn": torch.nn.{module}({width}, {config.hidden_size}, {config.depth}, batch_first=True),',
        f'    "decoder": torch.nn.Linear({config.hidden_size}, {vocab_size}),',
        "})",
        f'model.load_state_dict(load_file("{SINGLE}"))',
        'hidden, memory = model["rnn"](model["encoder"](ids))',
        'logits = model["decoder"](hidden)',
    )
