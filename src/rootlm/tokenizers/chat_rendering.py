"""Turns of a conversation as the one text that a chat template makes of them; the template can do nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NoReturn


def render(
    template: str, turns: Sequence[Mapping[str, Any]], marks: Mapping[str, str], *, answer: bool = True
) -> str:
    """Return the text of `turns`; `marks` are bos_token and the like; with `answer`, the answer's turn begins.

    Raises ValueError where the template refuses the turns or is none.
    """
    from jinja2.exceptions import TemplateError

    try:
        return _compiled(template).render(messages=turns, add_generation_prompt=answer, **marks)  # type: ignore[no-any-return]
    except TemplateError as error:
        raise ValueError(f"the chat template refuses these turns: {error}") from error
    except (TypeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"the chat template fails on these turns: {error}") from error


@cache
def _compiled(template: str) -> Any:
    """Return the template in a sandbox: it sees no attribute that could reach out, and changes nothing it is given."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **how: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **how)

    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    sandbox.filters["tojson"] = to_json
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return sandbox.from_string(template)
