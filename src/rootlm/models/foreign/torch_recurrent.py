"""State dicts of torch's recurrent modules between an embedding and a linear head, read and written by stated names.

Both sides stack the rows of their gates one below the other and have two bias vectors: one for what is read, one for
what is remembered. They are kept apart, since in a GRU the second stands within the reset gate's product.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from rootlm.core.config import Config
from rootlm.layers.cells import CELLS, CellName
from rootlm.models.foreign.key_map import Change, KeyMap, Outgoing, Rule, Tensors
from rootlm.models.recurrent import RecurrentConfig

GATES: dict[CellName, tuple[str, ...]] = {"rnn": ("n",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
"""The gates of a cell in the order of their rows, in torch and here: reset, update, new; enter, forget, new, out."""
_OTHER = {
    r"_reverse$": "is of a bidirectional network, which reads what it is to predict",
    r"weight_hr_l": "is a projection (proj_size), which rootlm's cells do not have",
}


class RecurrentNames(Config):
    """The names of a state dict; the defaults are those of PyTorch's word_language_model example."""

    embedding: str = "encoder.weight"
    """The table of the input."""
    weight_ih: str = "rnn.weight_ih_l{layer}"
    """What each layer multiplies by what it reads; {layer} counts from 0."""
    weight_hh: str = "rnn.weight_hh_l{layer}"
    """What each layer multiplies by what it remembers."""
    bias_ih: str | None = "rnn.bias_ih_l{layer}"
    """The bias beside weight_ih; null, or a file that has none, is zero."""
    bias_hh: str | None = "rnn.bias_hh_l{layer}"
    """The bias beside weight_hh; the same."""
    head: str | None = "decoder.weight"
    """The matrix of the output; null, or a file that has none, is the embedding."""
    head_bias: str | None = "decoder.bias"
    """Its bias; the same as of the others."""
    cell: Literal["rnn", "gru", "lstm"] | None = None
    """null tells it from the shapes: one, three or four gates. An rnn is one with tanh."""
    gates: list[str] | None = None
    """The order of the gates' rows where it is not torch's: i f g o of an lstm, r z n of a gru."""


def read_recurrent(tensors: Tensors, names: RecurrentNames) -> tuple[RecurrentConfig, int, list[Outgoing]]:
    """Return the network, its vocabulary and our tensors, each made when it is asked for.

    Raises ValueError naming the first tensor that is missing, left over, misshapen or of a network that we lack.
    """
    shapes = tensors.shapes
    for name in shapes:
        for pattern, why in _OTHER.items():
            if re.search(pattern, name):
                raise ValueError(f"{tensors.place}: {name} {why}")
    for name in (names.embedding, names.weight_hh.format(layer=0)):
        if len(shapes.get(name, ())) != 2:
            listed = ", ".join(list(shapes)[:6])
            raise ValueError(
                f"{tensors.place}: holds no matrix {name}; it holds {listed}…: name them with key_map=FILE"
            )
    vocab_size, width = shapes[names.embedding]
    depth = next(n for n in range(len(shapes) + 1) if names.weight_hh.format(layer=n) not in shapes)
    rows, hidden = shapes[names.weight_hh.format(layer=0)]
    cell = _cell(rows, hidden, names, tensors.place)
    tied = _is_tied(tensors, names, hidden)
    config = RecurrentConfig(cell=cell, depth=depth, hidden_size=hidden, embedding_size=width, tied=tied)
    with torch.device("meta"):
        wanted = {n: tuple(p.shape) for n, p in config.build(vocab_size).named_parameters()}
    rules, absent = [], set[str]()
    for rule in _rules(names, cell):
        here = rule.theirs and any(rule.theirs[0].format(layer=n) in shapes for n in range(depth))
        if here or not rule.ours.rpartition(".")[2].startswith("bias"):
            rules.append(rule)
        else:
            absent |= {rule.ours.format(layer=n) for n in range(depth)}
    _check_shapes(rules, wanted, tensors, depth)
    kept = {name: shape for name, shape in wanted.items() if name not in absent}
    read = KeyMap(rules, {"layer": depth}).read(tensors, kept)
    kind = tensors.dtype(names.embedding)
    zeros = [Outgoing(n, wanted[n], kind, _zeros(wanted[n], kind)) for n in sorted(absent & set(wanted))]
    return config, vocab_size, [*read, *zeros]


def write_recurrent(
    config: RecurrentConfig, tensors: Mapping[str, Tensor], names: RecurrentNames
) -> list[Outgoing]:
    """Return a network's tensors under their names; raises ValueError for one that torch's modules cannot say."""
    wrong = {
        "model.layer_norm=true": config.layer_norm,
        "model.residual=true": config.residual,
        f"the last layer, {config.widths[-1]} wide": config.widths[-1] != config.hidden_size,
    }
    for what, is_so in wrong.items():
        if is_so:
            raise ValueError(
                f"{what}: torch.nn.{config.cell.upper()} has no such thing; train with model.layer_norm=false, "
                "model.residual=false and embedding_size = hidden_size or tied=false"
            )
    held = dict(tensors)
    if config.tied:
        held["head.weight"] = held["embedding.weight"]
    return KeyMap(_rules(names, config.cell), {"layer": config.depth}).write(held)


def _rules(names: RecurrentNames, cell: CellName) -> list[Rule]:
    order = _order(names.gates, cell)
    own = "layers.{layer}."
    stacked = {
        "weight_input": names.weight_ih,
        "weight_recurrent": names.weight_hh,
        "bias_input": names.bias_ih,
        "bias_recurrent": names.bias_hh,
    }
    plain = {"embedding.weight": names.embedding, "head.weight": names.head, "head.bias": names.head_bias}
    return [
        *(Rule(ours, (theirs,) if theirs else ()) for ours, theirs in plain.items()),
        *(Rule(own + ours, (theirs,) if theirs else (), change=order) for ours, theirs in stacked.items()),
    ]


def _order(given: Sequence[str] | None, cell: CellName) -> Change | None:
    """Return what brings gates from the order in which they were given into ours."""
    if given is None or tuple(given) == GATES[cell]:
        return None
    if sorted(given) != sorted(GATES[cell]):
        raise ValueError(f"gates: {list(given)}; the gates of {cell} are {', '.join(GATES[cell])}, each once")
    take = [list(given).index(gate) for gate in GATES[cell]]
    back = [GATES[cell].index(gate) for gate in given]

    def moved(rows: Tensor, places: Sequence[int]) -> Tensor:
        parts = rows.chunk(len(places))
        return torch.cat([parts[place] for place in places])

    return Change(lambda theirs: moved(theirs, take), lambda ours: moved(ours, back))


def _cell(rows: int, hidden: int, names: RecurrentNames, place: str) -> CellName:
    known = {cell.gates: name for name, cell in CELLS.items()}
    found = known.get(rows // hidden) if hidden and rows % hidden == 0 else None
    name = names.weight_hh.format(layer=0)
    if found is None:
        raise ValueError(
            f"{place}: {name} is ({rows}, {hidden}), the gates of no cell that is known: lstm has 4, gru 3, rnn 1"
        )
    if names.cell not in (None, found):
        raise ValueError(f"{place}: {name} is ({rows}, {hidden}), a {found}; the key map says {names.cell}")
    return found


def _is_tied(tensors: Tensors, names: RecurrentNames, hidden: int) -> bool:
    shapes = tensors.shapes
    if names.head is not None and names.head in shapes:
        same = shapes[names.head] == shapes[names.embedding]
        return same and torch.equal(tensors.read(names.head), tensors.read(names.embedding))
    width = shapes[names.embedding][1]
    if width != hidden:
        raise ValueError(
            f"{tensors.place}: holds no head, and its embedding is {width} wide, the cells {hidden}; "
            "name the head in the key map"
        )
    return True


def _check_shapes(
    rules: Sequence[Rule], wanted: Mapping[str, tuple[int, ...]], tensors: Tensors, depth: int
) -> None:
    """Raise ValueError naming a tensor whose shape does not follow from the first ones."""
    for rule in rules:
        for layer in range(depth):
            ours = rule.ours.format(layer=layer)
            name = rule.theirs[0].format(layer=layer) if rule.theirs else ""
            found = tensors.shapes.get(name)
            if ours in wanted and found is not None and found != wanted[ours]:
                raise ValueError(
                    f"{tensors.place}: {name} is {found}, the other layers ask for {wanted[ours]}"
                )


def _zeros(shape: tuple[int, ...], kind: torch.dtype) -> Callable[[], Tensor]:
    return lambda: torch.zeros(shape, dtype=kind)
