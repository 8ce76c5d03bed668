"""Mistakes in settings in a person's words: the place, the key, what was expected, the nearest names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

Plain = dict[str, Any]
Place = Callable[[str], str]
"""Where a dotted key was set."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `did you mean a or b?` or the whole list when nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(names)}"


def explain_all(kind: type[BaseModel], details: Iterable[Plain], place: Place) -> list[str]:
    """Return a sentence per mistake; of a union only the branch that the value was meant for speaks."""
    problems = [_explain(kind, detail, place) for detail in details]
    meant = {problem.union for problem in problems if problem.deep}
    lines: list[str] = []
    for problem in problems:
        if problem.union is None or problem.deep:
            lines.append(problem.text)
        elif problem.union not in meant:
            expected = dict.fromkeys(other.expected for other in problems if other.union == problem.union)
            lines.append(problem.text.removesuffix(problem.expected) + " or ".join(expected))
    return list(dict.fromkeys(lines))


@dataclass(frozen=True)
class _Problem:
    """One of pydantic's errors; `union` is the key of its plain union, `deep` says beyond its first look."""

    text: str
    key: str
    expected: str
    union: str | None
    deep: bool


def _explain(kind: type[BaseModel], detail: Plain, place: Place) -> _Problem:
    trail = _walk(kind, [str(part) for part in detail["loc"]])
    key, found = ".".join(trail.path), detail.get("ctx", {})
    expected = _expected(detail)
    if detail["type"] == "extra_forbidden":
        text = f"unknown key {key}; {_nearest_key(trail)}"
    elif detail["type"] == "missing":
        text = f"{key} is missing; set {key}=…"
    elif detail["type"] == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in found["expected_tags"].split(",")]
        text = f"unknown kind {found['tag']} for {key}; {nearest(found['tag'], tags)}"
    elif detail["type"] == "union_tag_not_found":
        text = f"{key} needs a kind; set {key}.kind=…"
    elif detail["type"] == "literal_error" and trail.union is None:
        text = f"{key} is {detail['input']!r}; {nearest(str(detail['input']), _words(found['expected']))}"
    elif detail["type"] == "value_error":
        text = f"{key}: {expected}" if key else expected
    else:
        text = f"{key} is {detail['input']!r}, expected {expected}"
    deep = trail.deep or detail["type"].startswith("union_tag")
    return _Problem(f"{place(key)}: {text}", key, expected, trail.union, deep and trail.union is not None)


def _expected(detail: Plain) -> str:
    if detail["type"] == "literal_error":
        return " or ".join(_words(detail["ctx"]["expected"]))
    message: str = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return {"an object": "keys and values", "a valid array": "a list"}.get(message, message)


def _words(listed: str) -> list[str]:
    return [word.strip(" '") for word in re.split(r",| or ", listed)]


def _nearest_key(trail: _Trail) -> str:
    prefix = "".join(f"{part}." for part in trail.path[:-1])
    known = list(trail.owner.model_fields) if trail.owner else []
    close = difflib.get_close_matches(trail.path[-1], known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(prefix + name for name in close)}?"
    return f"known: {', '.join(sorted(known))}"


@dataclass
class _Trail:
    """Where an error stands: the path without pydantic's own words, and the class that owns its last part."""

    path: list[str]
    owner: type[BaseModel] | None
    union: str | None = None
    deep: bool = False


def _walk(kind: type[BaseModel], loc: list[str]) -> _Trail:
    trail = _Trail([], kind)
    here: Any = kind
    for part in loc:
        members = _members(here)
        tagged = [choice for choice in members if _is_config(choice) and _is_named(choice, part)]
        if len(members) > 1 and all(map(_is_config, members)) and tagged:
            here = tagged[0]
            continue
        if len(members) > 1 and trail.union is None:
            trail.union = ".".join(trail.path)
            here = next((member for member in members if _is_branch(member, part)), None)
            continue
        trail.deep = trail.union is not None
        trail.path.append(part)
        only = members[0] if len(members) == 1 else None
        trail.owner = only if _is_config(only) else None
        if trail.owner is not None:
            field = trail.owner.model_fields.get(part)
            here = field.annotation if field else None
        else:
            here = next(iter(get_args(only)), None)
    return trail


def _members(annotation: Any) -> list[Any]:
    """Return what an annotation may be, None left out; a part that is told apart by `kind` counts as one."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return members if len(members) > 1 else _members(members[0])
    return [] if annotation is None else [annotation]


def _is_config(annotation: Any) -> bool:
    return (
        isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)
    )


def _is_named(choice: type[BaseModel], kind: str) -> bool:
    return "kind" in choice.model_fields and choice.model_fields["kind"].default == kind


def _is_branch(member: Any, label: str) -> bool:
    """Tell whether pydantic's label of a branch means this member."""
    if label.startswith("tagged-union["):
        return len(_members(member)) > 1
    return label.startswith(
        (getattr(member, "__name__", "?"), f"{getattr(get_origin(member), '__name__', '?')}[")
    )
