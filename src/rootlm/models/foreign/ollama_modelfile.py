"""A `Modelfile` beside a GGUF file, so that `ollama create` serves it with its turns, stops and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from rootlm.core.files import write_text
from rootlm.models.foreign.foreign_model import ForeignModel
from rootlm.models.foreign.gguf_rotary import even_context

_SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
_WORDS = {"system": "Rule.", "user": "Question?", "assistant": "Answer."}
_UNWRITABLE = ("{{", "}}", '"""')
_CANNOT_SAY = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    AttributeError,
)


@dataclass(frozen=True)
class Turns:
    """What stands before and behind each role's words, and what invites the answer."""

    around: Mapping[str, tuple[str, str]]
    invitation: str

    def text(self, roles: Sequence[str]) -> str:
        """Return a conversation, as a template would."""
        said = "".join(self.around[role][0] + _WORDS[role] + self.around[role][1] for role in roles)
        return said + self.invitation

    def template(self) -> str:
        """Return the same in Ollama's language."""
        branches = [
            f'{{{{ {"else " if number else ""}if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{behind}'
            for number, (role, (before, behind)) in enumerate(self.around.items())
        ]
        return "{{ range .Messages }}" + "".join(branches) + "{{ end }}{{ end }}" + self.invitation


def write_modelfile(path: Path, gguf: Path, foreign: ForeignModel) -> None:
    """Write what Ollama needs to know of a GGUF file that lies in the same folder."""
    write_text(path, modelfile(gguf.name, foreign))


def modelfile(name: str, foreign: ForeignModel) -> str:
    """Return the lines of a `Modelfile`."""
    ids = {**foreign.config, **foreign.generation}
    tokens = _tokens(foreign.tokenizer_json)
    lines = [f"FROM ./{name}"]
    if foreign.chat_template:
        turns = read_turns(foreign.chat_template, ids, tokens)
        if turns is None:
            lines.append(
                "# The chat template is more than marks around turns: Ollama uses the one in the file."
            )
        else:
            lines.append(f'TEMPLATE """{turns.template()}"""')
    ends = ids.get("eos_token_id")
    for number in ends if isinstance(ends, list | tuple) else [ends]:
        if number in tokens:
            lines.append(f"PARAMETER stop {json.dumps(tokens[number], ensure_ascii=False)}")
    lines += [
        f"PARAMETER {theirs} {foreign.generation[ours]}"
        for ours, theirs in _SAMPLING.items()
        if foreign.generation.get(ours) is not None
    ]
    context = even_context(foreign.config)
    if context:
        if context < int(foreign.config.get("max_position_embeddings") or 0):
            lines.append("# With a larger context llama.cpp turns short texts by the factors of long ones.")
        lines.append(f"PARAMETER num_ctx {context}")
    return "\n".join(lines) + "\n"


def read_turns(template: str, ids: Mapping[str, Any], tokens: Mapping[int, str]) -> Turns | None:
    """Return the marks that a chat template sets around turns; None where it does more than that.

    The mark that begins a text is left away: llama.cpp sets it.
    """
    say = _renderer(template, ids, tokens)
    if say is None:
        return None
    try:
        before, behind = _beside(say(["user"], False), "user")
        invited = say(["user"], True)
        answered = say(["user", "assistant"], False)
        ruled = say(["system", "user"], False)
        start = before + _WORDS["user"] + behind
        answer = _beside(answered.removeprefix(start), "assistant")
        rule = _beside(ruled.removesuffix(start), "system")
        turns = Turns(
            {"system": rule, "user": (before, behind), "assistant": answer}, invited.removeprefix(start)
        )
        roles = ["system", "user", "assistant", "user"]
        is_all = turns.text(roles) == say(roles, True) and turns.text(["user"]) == invited
    except _Refused:
        return None
    return turns if is_all and not any(mark in turns.text(roles) for mark in _UNWRITABLE) else None


class _Refused(Exception):
    """A template that does not take a conversation, or loses what was said."""


def _beside(text: str, role: str) -> tuple[str, str]:
    before, found, behind = text.partition(_WORDS[role])
    if not found:
        raise _Refused
    return before, behind


def _renderer(template: str, ids: Mapping[str, Any], tokens: Mapping[int, str]) -> Any:
    """Return what says a conversation of these roles, in a sandbox, or None for a template that is none."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    ends = ids.get("eos_token_id")
    end = ends[0] if isinstance(ends, list | tuple) and ends else ends
    names = {"bos_token": "", "eos_token": tokens.get(end, "") if isinstance(end, int) else ""}
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    try:
        made = environment.from_string(template)
    except (TemplateError, RecursionError):
        return None

    def say(roles: Sequence[str], invites: bool) -> str:
        messages = [{"role": role, "content": _WORDS[role]} for role in roles]
        try:
            return made.render(
                messages=messages, add_generation_prompt=invites, raise_exception=refuse, **names
            )
        except _CANNOT_SAY as error:
            raise _Refused from error

    return say


def _tokens(content: str | None) -> dict[int, str]:
    """Return tokens by their ids."""
    if content is None:
        return {}
    spec = json.loads(content)
    vocabulary = spec["model"].get("vocab")
    found = {number: name for name, number in vocabulary.items()} if isinstance(vocabulary, dict) else {}
    return found | {token["id"]: token["content"] for token in spec.get("added_tokens") or ()}
