"""Chat templates: how a conversation is written down for a model, rendered in Jinja's sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes

from rootlm.tokenizers.template_sandbox import Stretches, sandbox

Message = Mapping[str, Any]
DEFAULT = "default"
TOOLS = "tool_use"
"""The name of the template that is used where tools are given and there are several."""
_FORBIDDEN_NODES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_LISTED_TEMPLATES = 8
_CANNOT_READ = (
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    AttributeError,
    MemoryError,
)


@dataclass(frozen=True)
class Rendered:
    """A conversation as one text, and which stretches of it the assistant said."""

    text: str
    said: tuple[tuple[int, int], ...]
    """Begin and end of what stands in `generation` blocks, in characters; empty where the template has none."""


class ChatTemplate:
    """One template. It reads messages, tools, documents and the names of special tokens, and can do nothing else.

    >>> template = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}")
    >>> template.render([{"role": "user", "content": "床前"}], tokens={"eos_token": "</s>"}).text
    '<user>床前</s>'
    """

    def __init__(self, source: str) -> None:
        """Parse `source`; raises ValueError where it is no template or reaches for what the sandbox forbids."""
        self.source = source
        _compiled(source)

    def render(
        self,
        messages: Iterable[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        tokens: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """Write down `messages`; raises ValueError with the template's own words where it refuses them.

        `tokens` are special tokens by role, such as bos_token; `variables` whatever else a template asks for,
        `documents` among them.
        """
        environment, template = _compiled(self.source)
        read = {
            "documents": None,
            **(tokens or {}),
            **_plain(dict(variables or {})),
            "messages": _conversation(messages),
            "tools": None if tools is None else _plain(list(tools)),
            "add_generation_prompt": add_generation_prompt,
        }
        stretches = Stretches()
        try:
            with environment.marking(stretches):
                for piece in template.generate(read):
                    stretches.pieces.append(piece)
        except jinja2.exceptions.SecurityError as error:
            raise ValueError(f"chat template: the sandbox forbids what it tries: {error}") from error
        except jinja2.exceptions.TemplateError as error:
            raise ValueError(f"chat template: {error}") from error
        except _CANNOT_READ as error:
            raise ValueError(
                f"chat template: it cannot read these messages ({type(error).__name__}: {error})"
            ) from error
        return Rendered("".join(stretches.pieces), tuple(stretches.said))


def named_templates(setting: object) -> dict[str, str]:
    """Return the templates of a `chat_template` setting by name: one text, a list of named ones, or none.

    Raises ValueError where it is something else, or where one of them cannot be parsed.
    """
    if setting is None:
        return {}
    if isinstance(setting, str):
        found: dict[Any, Any] = {DEFAULT: setting}
    elif isinstance(setting, Mapping):
        found = dict(setting)
    elif isinstance(setting, list) and all(isinstance(one, Mapping) for one in setting):
        found = {one.get("name"): one.get("template") for one in setting}
    else:
        found = {None: None}
    for name, source in found.items():
        if not (isinstance(name, str) and isinstance(source, str)):
            raise ValueError("chat_template is neither a text nor a list of templates with their names")
        ChatTemplate(source)
    return found


def choose(templates: Mapping[str, str], name: str | None, *, with_tools: bool) -> ChatTemplate:
    """Return the template of that name, or the usual one; raises ValueError with the names there are."""
    if name is None:
        name = TOOLS if with_tools and TOOLS in templates else DEFAULT
    if name not in templates:
        listed = ", ".join(list(templates)[:_LISTED_TEMPLATES]) or "it has none"
        raise ValueError(f"no chat template of this tokenizer is named {name!r} ({listed}); name another")
    return ChatTemplate(templates[name])


@lru_cache(maxsize=64)
def _compiled(source: str) -> tuple[Any, jinja2.Template]:
    """Return an environment and the template in it."""
    environment = sandbox()
    try:
        tree = environment.parse(source)
        _refuse_reaching_out(tree)
        return environment, environment.from_string(source)
    except jinja2.exceptions.TemplateSyntaxError as error:
        raise ValueError(
            f"chat template, line {error.lineno}: {error.message}; it cannot be parsed"
        ) from error


def _refuse_reaching_out(tree: nodes.Template) -> None:
    """Refuse before any rendering what the sandbox would refuse in the middle of it."""
    for node in tree.find_all(nodes.Node):
        attribute: object = node.attr if isinstance(node, nodes.Getattr) else None
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            attribute = node.arg.value
        if isinstance(attribute, str) and attribute.startswith("_"):
            raise ValueError(f"chat template, line {node.lineno}: the sandbox forbids to read {attribute!r}")
        if isinstance(node, _FORBIDDEN_NODES):
            raise ValueError(f"chat template, line {node.lineno}: the sandbox forbids to take in other files")


def _conversation(messages: Iterable[Message]) -> list[Any]:
    read = list(messages)
    for place, message in enumerate(read):
        if not isinstance(message, Mapping):
            raise ValueError(
                f"message {place} is {type(message).__name__}; expected a mapping with role and content"
            )
    plain: list[Any] = _plain(read)
    return plain


def _plain(value: Any) -> Any:
    """Build a value anew of what JSON knows: other objects have methods that no sandbox has heard of."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {_plain(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else list(map(_plain, value))
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise ValueError(f"a message holds a {type(value).__name__}; give text, numbers, lists and mappings")
