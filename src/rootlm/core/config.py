"""Configuration once: frozen typed classes, filled from a YAML file and `a.b=value` overrides."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rootlm.core.mistakes import explain_all

Plain = dict[str, Any]
C = TypeVar("C", bound="Config")
# A setting may be called json or copy, as pydantic's own old methods are.
warnings.filterwarnings("ignore", message=r'Field name "(json|copy)" in .* shadows an attribute')


class Config(BaseModel):
    """A frozen, typed group of settings; a string under a field describes that field.

    A union of groups is told apart by a literal field `kind`. Where a group has a default, naming one of its
    keys is enough: its kind and all other keys stay the default's.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )


@dataclass(frozen=True)
class Override:
    """One setting given outside the file: a dotted key and its parsed value."""

    key: str
    value: Any


def parse_override(key: str, text: str) -> Override:
    """Read `text` as a YAML value, so that `4`, `1e-3`, `true`, `[1, 2]` and `null` mean what they say."""
    try:
        return Override(key.replace("-", "_"), yaml.load(text, Loader=_Loader) if text else "")
    except yaml.YAMLError as error:
        raise ValueError(f"command line: {key}={text!r} is not a YAML value; put quotes around it") from error


def load(kind: type[C], file: Path | None = None, overrides: Iterable[Override] = ()) -> C:
    """Fill `kind` from a YAML file and overrides; the overrides win.

    Raises ValueError naming file, line, key and the nearest known names for an unknown key, and file, line,
    key and the expected type for a wrong value.
    """
    data, lines = read_yaml(file) if file else ({}, {})
    given: set[str] = set()
    # A kind comes first, wherever it was written: a change of kind empties its group.
    for override in sorted(overrides, key=lambda override: override.key.split(".")[-1] != "kind"):
        _set(data, override)
        given.add(override.key)
    return validate(kind, data, _Origin(file, lines, given))


def validate(kind: type[C], data: Plain, origin: _Origin | None = None) -> C:
    """Turn plain data into a `kind`, or raise ValueError with every mistake on its own line."""
    try:
        return kind.model_validate_json(json.dumps(_with_defaults(kind, data)), strict=True)
    except ValidationError as error:
        origin = origin or _Origin(None, {}, set())
        details = [dict(detail) for detail in error.errors(include_url=False)]
        raise ValueError("\n".join(explain_all(kind, details, origin.place))) from None


def nested(settings: Mapping[str, Any]) -> Plain:
    """Return settings with dotted keys as groups within groups.

    >>> nested({"a.size": 2, "a.kind": "b", "c": 1})
    {'a': {'kind': 'b', 'size': 2}, 'c': 1}
    """
    data: Plain = {}
    for key in sorted(settings, key=lambda key: key.split(".")[-1] != "kind"):
        _set(data, Override(key, settings[key]))
    return data


def read_yaml(file: Path) -> tuple[Plain, dict[str, int]]:
    """Return the file's mapping and the line of every dotted key; duplicate keys are an error."""
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader) or {}
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{file}: expected `key: value` lines, found a {type(data).__name__}")
    lines: dict[str, int] = {}
    _collect_lines(root, "", lines, file)
    return data, lines


def to_plain(config: Config) -> Plain:
    """Return the settings as JSON-ready plain data, defaults included."""
    return config.model_dump(mode="json")


def to_yaml(config: Config) -> str:
    """Return the settings as YAML, defaults included, in the order of the class."""
    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True, width=100)


def json_schema(kind: type[Config]) -> Plain:
    """Return the JSON Schema of a configuration, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.model_json_schema()}


@dataclass(frozen=True)
class _Origin:
    file: Path | None
    lines: Mapping[str, int]
    given: set[str]

    def place(self, key: str) -> str:
        if any(f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.") for name in self.given):
            return "command line"
        parts = key.split(".")
        while parts:
            if ".".join(parts) in self.lines:
                return f"{self.file}:{self.lines['.'.join(parts)]}"
            parts.pop()
        return str(self.file) if self.file else "settings"


class _Loader(yaml.SafeLoader):
    """YAML with 1e-3 as a number and dates as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(("timestamp", "float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*([eE][-+]?\d+)?|\.(inf|nan))$"
    ),
    list("-+0123456789."),
)


def _collect_lines(node: yaml.Node | None, prefix: str, lines: dict[str, int], file: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = f"{prefix}{key.value}"
            line = key.start_mark.line + 1
            if path in lines:
                raise ValueError(f"{file}:{line}: {path} is set twice (first on line {lines[path]})")
            lines[path] = line
            _collect_lines(value, path + ".", lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[f"{prefix}{index}"] = value.start_mark.line + 1
            _collect_lines(value, f"{prefix}{index}.", lines, file)


def _set(data: Plain, override: Override) -> None:
    *parents, last = override.key.split(".")
    group = data
    for name in parents:
        if not isinstance(group.get(name), dict):
            group[name] = {}
        group = group[name]
    if last == "kind" and group.get("kind") != override.value:
        group.clear()
    group[last] = override.value


def _with_defaults(kind: type[Config], data: Plain) -> Plain:
    """Return the data with each group's own default under it: one key given leaves the others as they were.

    Where another kind is given, the default has nothing to say.
    """
    filled = dict(data)
    for name, field in kind.model_fields.items():
        value, default = filled.get(name), field.default
        if not isinstance(value, dict):
            continue
        if isinstance(default, Config):
            value = _over(to_plain(default), value)
        chosen = [group for group in _groups(field.annotation) if _is_kind(group, value.get("kind"))]
        filled[name] = _with_defaults(chosen[0], value) if len(chosen) == 1 else value
    return filled


def _over(below: Plain, above: Plain) -> Plain:
    """Return one group laid over another, unless they are of different kinds."""
    if "kind" in above and above["kind"] != below.get("kind"):
        return above
    groups = {name for name in below if isinstance(below[name], dict) and isinstance(above.get(name), dict)}
    return {**below, **above, **{name: _over(below[name], above[name]) for name in groups}}


def _is_kind(group: type[Config], kind: Any) -> bool:
    return "kind" not in group.model_fields or group.model_fields["kind"].default == kind


def _groups(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [group for part in get_args(annotation) for group in _groups(part)]
