"""The sandbox that chat templates run in, with the few functions that published ones expect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


@dataclass
class Stretches:
    """What was rendered so far, and which stretches of it stand in `generation` blocks."""

    pieces: list[str] = field(default_factory=list)
    said: list[tuple[int, int]] = field(default_factory=list)


_marking: ContextVar[Stretches | None] = ContextVar("_marking", default=None)


def sandbox() -> Any:
    """Return an environment in which a template changes nothing and reads no attribute of Python's own.

    `marking(stretches)` notes the blocks that are rendered within it.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=_raise, strftime_now=_now, dict=_OnlyDict(), namespace=_PlainNamespace
    )
    return environment


class GenerationBlocks(Extension):
    """Reads `{% generation %}…{% endgeneration %}`, which stands around what the assistant said."""

    tags = {"generation"}  # noqa: RUF012

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        environment.extend(marking=_mark_within)

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the block as a call that hears what its body says."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_hear"), [], [], body).set_lineno(line)

    def _hear(self, caller: Callable[[], str]) -> str:
        said = caller()
        stretches = _marking.get()
        if stretches is not None:
            begin = sum(map(len, stretches.pieces))
            stretches.said.append((begin, begin + len(said)))
        return said


@contextmanager
def _mark_within(stretches: Stretches) -> Iterator[None]:
    before = _marking.set(stretches)
    try:
        yield
    finally:
        _marking.reset(before)


class _OnlyDict:
    """`dict` as a template may use it: made, and nothing else."""

    def __call__(self, *pairs: Any, **named: Any) -> dict[Any, Any]:
        return dict(*pairs, **named)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class _PlainNamespace(Namespace):
    """Variables that a template sets inside its loops; their names begin with a letter."""

    def __init__(*args: Any, **named: Any) -> None:
        # No parameter is called self, for a template may call one of its variables so.
        values = dict(*args[1:], **named)
        for name in values:
            _refuse_hidden(name)
        Namespace.__init__(args[0], values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_hidden(name)
        super().__setitem__(name, value)


def _refuse_hidden(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace holds no {name!r}: the name begins with a line")


def _raise(message: object) -> NoReturn:
    raise jinja2.exceptions.TemplateError(str(message))


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as it is read aloud: Chinese as it is, and no letters spelt for HTML, as Jinja's own would."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
