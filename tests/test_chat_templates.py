"""Chat templates: the same text as `transformers` writes, and nothing that a template should not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chat_templates import CHAT_ML, CONVERSATIONS, QWEN, TEMPLATES, WEATHER
from foreign_tokenizers import make_merges, write_settings
from rootlm.tokenizers.chat_template import ChatTemplate
from rootlm.tokenizers.tokenizer import Tokenizer

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def outcome(render: Any) -> tuple[str, Any]:
    """What was rendered, or that it was refused."""
    import jinja2

    try:
        return "text", render()
    except (ValueError, TypeError, jinja2.exceptions.TemplateError):
        return "refused", None


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_says_what_transformers_says(
    name: str, conversation: str, add_generation_prompt: bool
) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = CONVERSATIONS[conversation]
    for tools in (None, [WEATHER]):
        for variables in ({}, {"enable_thinking": False, "date_string": "二月", "documents": None}):

            def theirs(tools: Any = tools, variables: dict[str, Any] = variables) -> tuple[str, Any]:
                texts, marks = render_jinja_template(
                    [messages],
                    tools=tools,
                    chat_template=TEMPLATES[name],
                    return_assistant_tokens_mask=True,
                    add_generation_prompt=add_generation_prompt,
                    **{**TOKENS, **variables},
                )
                return texts[0], tuple(marks[0])

            def ours(tools: Any = tools, variables: dict[str, Any] = variables) -> tuple[str, Any]:
                rendered = ChatTemplate(TEMPLATES[name]).render(
                    messages,
                    tools=tools,
                    add_generation_prompt=add_generation_prompt,
                    tokens=TOKENS,
                    variables=variables,
                )
                return rendered.text, rendered.said

            assert outcome(ours) == outcome(theirs)


def test_most_conversations_are_rendered_and_what_the_assistant_said_is_marked() -> None:
    rendered = ChatTemplate(CHAT_ML).render(CONVERSATIONS["answered"])
    said = [rendered.text[begin:end] for begin, end in rendered.said]
    assert said == ["b<|im_end|>", "d\n\n<|im_end|>"]
    done = sum(
        outcome(lambda t=source, m=messages: ChatTemplate(t).render(m, tokens=TOKENS))[0] == "text"
        for source in TEMPLATES.values()
        for messages in CONVERSATIONS.values()
    )
    assert done >= 20


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for m in messages %}", "line 1: Unexpected end of template.*cannot be parsed"),
        ("\n{{ messages[0] ", "line 2: .*cannot be parsed"),
        ("{{ ''.__class__.__mro__ }}", "line 1: the sandbox forbids to read '__mro__'|reads? '__class__'"),
        ("{{ messages['__class__'] }}", "forbids to read '__class__'"),
        ("{% include 'secrets' %}", "line 1: the sandbox forbids to take in other files"),
        ("{% import 'os' as os %}", "the sandbox forbids to take in other files"),
    ],
)
def test_what_is_no_template_or_reaches_out_is_refused_before_it_runs(source: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ChatTemplate(source)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ messages.append(1) }}", "sandbox forbids"),
        (
            "{{ messages | map(attribute='__class__') | list }}|{{ (messages | attr('__init__'))() }}",
            "sandbox|forbid",
        ),
        ("{% set ns = namespace(_x=1) %}", "sandbox forbids"),
        ("{{ range(10 ** 9) | list }}", "range|Range"),
        ("{{ raise_exception('only users, 请') }}", "chat template: only users, 请"),
        ("{{ messages[0].content.missing.more }}", "undefined|no attribute"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ 'x' * 10 ** 18 }}", "MemoryError"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
    ],
)
def test_what_a_template_tries_is_refused_in_one_line(source: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        ChatTemplate(source).render(CONVERSATIONS["one"])
    assert "\n" not in str(caught.value)


def test_a_template_sees_copies_of_plain_values_only() -> None:
    with pytest.raises(ValueError, match="a message holds a PosixPath; give text"):
        ChatTemplate("{{ messages }}").render([{"role": "user", "content": Path("x")}])
    with pytest.raises(ValueError, match="message 1 is str; expected a mapping"):
        ChatTemplate("{{ messages }}").render([{"role": "user", "content": ""}, "x"])  # type: ignore[list-item]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte pairs with the marks of ChatML."""
    place = make_merges(tmp_path_factory.mktemp("chat"), ("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    settings = {"eos_token": "<|im_end|>", "bos_token": None, "additional_special_tokens": ["<|im_start|>"]}
    return write_settings(place, tokenizer_class="Qwen2Tokenizer", chat_template=CHAT_ML, **settings)


def test_a_chat_becomes_the_ids_that_transformers_gives(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ours = Tokenizer.load(folder)
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).chat_templates == {"default": CHAT_ML}
    reference = AutoTokenizer.from_pretrained(str(tmp_path))
    for name in ("one", "turns", "answered"):
        expected = reference.apply_chat_template(CONVERSATIONS[name], add_generation_prompt=True)["input_ids"]
        text = ours.render(CONVERSATIONS[name], add_generation_prompt=True).text
        assert ours.encode_marked(text) == expected
    assert ours.ids_of(["<|im_start|>"])[0] not in ours.encode("<|im_start|>")


def test_a_template_of_its_own_file_wins_and_named_ones_are_chosen(folder: Path, tmp_path: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    named = [{"name": "default", "template": "d{{ bos_token }}"}, {"name": "tool_use", "template": "t"}]
    write_settings(tmp_path, **{**settings, "chat_template": named})
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.render([]).text == "d"
    assert tokenizer.render([], tools=[WEATHER]).text == "t"
    assert tokenizer.render([], tools=[WEATHER], template="default").text == "d"
    with pytest.raises(ValueError, match=r"no chat template .* 'rag' \(default, tool_use\); name another"):
        tokenizer.render([], template="rag")
    (tmp_path / "chat_template.jinja").write_text("file")
    more = tmp_path / "additional_chat_templates"
    more.mkdir()
    (more / "rag.jinja").write_text(QWEN)
    tokenizer = Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again.chat_templates == {"default": "file", "tool_use": "t", "rag": QWEN}
    assert again.fingerprint == tokenizer.fingerprint
    (more / "bad.jinja").write_text("{% if %}")
    with pytest.raises(ValueError, match=r"bad\.jinja: chat template, line 1"):
        Tokenizer.load(tmp_path)
