"""A Modelfile says the turns of a chat template in Ollama's language, or leaves them to the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rootlm.models.foreign.foreign_model import ForeignModel, MadeTensors
from rootlm.models.foreign.ollama_modelfile import modelfile, write_modelfile

_TOKENIZER = json.dumps(
    {"model": {"vocab": {"a": 0, "<|im_end|>": 2}}, "added_tokens": [{"id": 1, "content": "</s>"}]}
)
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_MARKED = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% elif message.role == 'system' %}<<{{ message.content }}>>{% else %} {{ message.content }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)


def _model(template: str | None, **generation: object) -> ForeignModel:
    config = {"max_position_embeddings": 512, "eos_token_id": [1, 2]}
    return ForeignModel(config, MadeTensors.of({}), _TOKENIZER, template, generation)


def test_turns_stops_and_settings_are_written(tmp_path: Path) -> None:
    write_modelfile(tmp_path / "Modelfile", tmp_path / "m.gguf", _model(_CHATML, temperature=0.5, top_k=20))
    assert (tmp_path / "Modelfile").read_text() == (
        'FROM ./m.gguf\nTEMPLATE """{{ range .Messages }}'
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n'
        '{{ end }}{{ end }}<|im_start|>assistant\n"""\n'
        'PARAMETER stop "</s>"\nPARAMETER stop "<|im_end|>"\n'
        "PARAMETER temperature 0.5\nPARAMETER top_k 20\nPARAMETER num_ctx 512\n"
    )


def test_marks_that_differ_from_role_to_role_are_found() -> None:
    lines = modelfile("m.gguf", _model(_MARKED))
    assert '{{ if eq .Role "system" }}<<{{ .Content }}>>' in lines
    assert '{{ else if eq .Role "user" }}[INST] {{ .Content }} [/INST]' in lines
    assert '{{ else if eq .Role "assistant" }} {{ .Content }}</s>{{ end }}' in lines


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no') }}",
        "{% for message in messages %}{{ message.content }}",
        "{{ messages|length }}" + _CHATML,
        _CHATML.replace("{{ message.content }}", "{{ message.content|upper }}"),
        _CHATML.replace("<|im_end|>", "{{ '{{' }}"),
        "{{ ''.__class__.__mro__ }}",
    ],
    ids=["refuses", "torn", "counts", "rewrites", "unwritable", "breaks out"],
)
def test_what_is_more_than_marks_is_left_to_the_file(template: str) -> None:
    lines = modelfile("m.gguf", _model(template))
    assert "TEMPLATE" not in lines
    assert "# The chat template is more than marks around turns" in lines


def test_a_model_without_turns_has_no_template() -> None:
    assert "emplate" not in modelfile("m.gguf", _model(None))


def test_a_context_turns_short_texts_by_the_factors_of_short_ones() -> None:
    model = _model(None)
    model.config["rope_scaling"] = {"rope_type": "longrope", "original_max_position_embeddings": 128}
    assert modelfile("m.gguf", model).endswith(
        "short texts by the factors of long ones.\nPARAMETER num_ctx 128\n"
    )
