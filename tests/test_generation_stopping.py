"""Laws of stop strings: never shown, nothing else lost, however the pieces fall."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import GenerationConfig

from rootlm.core.config import validate
from rootlm.generation.sampling import Sampling, end_ids, from_generation_config, to_generation_config
from rootlm.generation.stopping import StopStrings

TEXT = st.text("ab。\n", max_size=12)
STOP = st.text("ab。\n", min_size=1, max_size=4)


def whole(text: str, stops: list[str]) -> tuple[str, bool]:
    """The specification: read a character at a time until the text so far ends in a stop string."""
    for end in range(len(text) + 1):
        matching = [stop for stop in stops if text[:end].endswith(stop)]
        if matching:
            return text[: end - len(max(matching, key=len))], True
    return text, False


@given(st.lists(TEXT, max_size=6), st.lists(STOP, max_size=3))
def test_the_text_shown_does_not_depend_on_the_pieces(pieces, stops):
    reader = StopStrings(stops)
    shown = [reader.feed(piece) for piece in pieces]
    stopped = reader.stopped
    if not stopped:
        shown.append(reader.finish())
    assert ("".join(shown), stopped) == whole("".join(pieces), stops)


@given(st.lists(TEXT, max_size=6), st.lists(STOP, min_size=1, max_size=3))
def test_no_stop_string_is_ever_shown(pieces, stops):
    reader = StopStrings(stops)
    shown = ""
    for piece in pieces:
        shown += reader.feed(piece)
        assert not any(stop in shown for stop in stops)


def test_text_is_held_back_no_longer_than_needed():
    reader = StopStrings(["###"])
    assert [reader.feed(piece) for piece in ("a#", "b", "##", "c")] == ["a", "#b", "", "##c"]


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"temperature": -1}, "temperature is -1, expected greater than or equal to 0"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"n": 3, "temperature": 0}, "all the same"),
        ({"n": 3, "num_beams": 2}, "set num_beams=3"),
        ({"num_beams": 2, "top_k": 5}, "beams do not sample"),
        ({"num_beams": 2, "on_full": "slide"}, "beams stop at the context"),
        ({"stop": ""}, "empty string"),
        ({"temprature": 1}, "did you mean temperature?"),
    ],
)
def test_settings_out_of_range_name_the_key(wrong, part):
    with pytest.raises(ValueError, match=re.escape(part)):
        validate(Sampling, wrong)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.8, top_p=0.95, stop=["。", "\n\n"], n=2),
        Sampling(temperature=0),
        Sampling(num_beams=4, n=2, length_penalty=0.6),
        Sampling(top_k=40, min_p=0.1, repetition_penalty=1.1, max_new_tokens=7),
    ],
)
def test_a_generation_config_brings_the_settings_back(sampling):
    data = to_generation_config(sampling)
    assert from_generation_config(data) == sampling
    theirs = GenerationConfig.from_dict(data)
    theirs.validate(strict=True)
    assert theirs.do_sample == (sampling.num_beams == 1 and not sampling.greedy)


def test_a_foreign_generation_config_is_read_as_transformers_reads_it():
    foreign = {
        "bos_token_id": 151643, "do_sample": True, "eos_token_id": [151645, 151643], "pad_token_id": 151643,
        "repetition_penalty": 1.1, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "transformers_version": "4",
    }  # fmt: skip
    read = from_generation_config(foreign)
    assert (read.temperature, read.top_k, read.top_p, read.repetition_penalty) == (0.7, 20, 0.8, 1.1)
    assert end_ids(foreign) == {151643, 151645}
    assert from_generation_config({}).greedy


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Sampling().seed = 3
