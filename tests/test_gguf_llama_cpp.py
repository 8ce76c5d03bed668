"""What is written runs in llama.cpp: the same ids, the same probabilities, the same continuation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gguf_members import (
    CONFIGS,
    VOCAB_SIZE,
    byte_pairs,
    foreign,
    network,
    plain_engine,
    scored_pieces,
    strings,
)
from rootlm.models.foreign.gguf_model import read_gguf, write_gguf
from rootlm.models.foreign.gguf_splitters import SPLITTERS
from rootlm.models.foreign.llama_cpp import llama_cpp
from rootlm.tokenizers.byte_pieces import BytePairs
from rootlm.tokenizers.character_pieces import Characters
from rootlm.tokenizers.tokenizer_training import train

_PROMPT = [0, *range(5, 625, 31)]
# llama.cpp looks its GELU up in a table of float16.
_CLOSE = {"gemma2": 2e-2, "gemma3": 2e-2, "gpt2": 1e-2}


def _nats(made: object, prompt: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits = made(torch.tensor([prompt])).logits[0]  # type: ignore[operator]
    assert logits.std() >= 1
    return torch.log_softmax(logits[-1], -1)


def _greedy(made: object, count: int) -> list[int]:
    ids = list(_PROMPT)
    for _ in range(count):
        ids.append(int(_nats(made, ids).argmax()))
        if ids[-1] == 1:
            break
    return ids[len(_PROMPT) :]


@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_computes_what_transformers_computes(name: str, tmp_path: Path) -> None:
    made = network(name)
    write_gguf(tmp_path / "model.gguf", foreign(made, byte_pairs("qwen2")), "F32")
    with llama_cpp(tmp_path / "model.gguf") as opened:
        assert (
            torch.tensor(opened.nats(_PROMPT, VOCAB_SIZE)) - _nats(made, _PROMPT)
        ).abs().max() < _CLOSE.get(name, 1e-4)
        assert opened.greedy(_PROMPT, 12) == _greedy(made, 12)


def test_llama_cpp_turns_long_texts_as_transformers_does(tmp_path: Path) -> None:
    """Where its context is larger than what LongRoPE calls short."""
    made, prompt = network("phi3 long"), [5 + 7 * number % 600 for number in range(700)]
    write_gguf(tmp_path / "model.gguf", foreign(made, byte_pairs("qwen2")), "F32")
    with llama_cpp(tmp_path / "model.gguf", context=1024) as opened:
        # Seven hundred places times a rate in float32; by the short factors it would be several nats.
        assert (torch.tensor(opened.nats(prompt, VOCAB_SIZE)) - _nats(made, prompt)).abs().max() < 1e-3


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_llama_cpp_computes_with_smaller_types_what_we_read_from_them(kind: str, tmp_path: Path) -> None:
    made = network("llama 3")
    write_gguf(tmp_path / "model.gguf", foreign(made, byte_pairs("qwen2")), kind)  # type: ignore[arg-type]
    before = _greedy(made, 12)
    back = read_gguf(tmp_path / "model.gguf").tensors
    made.load_state_dict({part: back.read(part).float() for part in back.shapes})
    with llama_cpp(tmp_path / "model.gguf") as opened:
        # It rounds the stream too before it multiplies with what is small.
        close = {"F16": 0.05, "BF16": 0.3, "Q8_0": 0.5, "Q4_0": 0.5}[kind]
        assert (torch.tensor(opened.nats(_PROMPT, VOCAB_SIZE)) - _nats(made, _PROMPT)).abs().max() < close
        if kind == "F16":
            assert opened.greedy(_PROMPT, 12) == before


_TOKENIZERS = {
    **dict.fromkeys(("gpt-2", "smollm", "qwen2", "llama-bpe", "dbrx", "deepseek-v3"), byte_pairs),
    "pieces after a space": lambda name: scored_pieces(prefix=True),
    "pieces": lambda name: scored_pieces(prefix=False),
    "characters": lambda name: _own(Characters(vocab_size=VOCAB_SIZE)),
    "our pairs, cut as qwen2": lambda name: _own(BytePairs(vocab_size=VOCAB_SIZE, cut="qwen2")),
    "our pairs, cut as llama3": lambda name: _own(BytePairs(vocab_size=VOCAB_SIZE, cut="llama3")),
}


def _own(settings: Characters | BytePairs) -> str:
    """Return a tokenizer of our own, as it is saved."""
    return json.dumps(train(settings, [text.replace("▁", "") for text in strings(1500, seed=1)])._spec)


@pytest.mark.parametrize("name", _TOKENIZERS)
def test_llama_cpp_gives_the_same_ids(name: str, tmp_path: Path) -> None:
    content = _TOKENIZERS[name](name)
    write_gguf(tmp_path / "model.gguf", foreign(network("qwen2"), content), "F16")
    ours, back = plain_engine(content), plain_engine(read_gguf(tmp_path / "model.gguf").tokenizer_json or "")
    with llama_cpp(tmp_path / "model.gguf") as opened:
        for text in strings(200):
            if name == "characters" and "▁" in text:
                continue  # llama.cpp takes it for a space
            ids = ours.encode(text, add_special_tokens=False).ids
            assert opened.ids(text) == ids, text
            assert back.encode(text, add_special_tokens=False).ids == ids, text


@pytest.mark.parametrize("begins", [True, False])
def test_texts_begin_with_a_mark_where_the_file_says_so(begins: bool, tmp_path: Path) -> None:
    content = byte_pairs("llama-bpe")
    write_gguf(tmp_path / "model.gguf", foreign(network("qwen2"), content, add_bos_token=begins), "F32")
    back = read_gguf(tmp_path / "model.gguf").tokenizer_json or ""
    ids = plain_engine(back).encode("Hello").ids
    assert (ids[0] == 0) == begins
    with llama_cpp(tmp_path / "model.gguf") as opened:
        assert opened.ids("Hello", marks=True) == ids


@pytest.mark.parametrize("name", sorted(name for name, one in SPLITTERS.items() if not one.exact))
def test_ways_of_cutting_that_llama_cpp_only_comes_near_are_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no equal in llama\.cpp: it cuts texts by an expression"):
        write_gguf(tmp_path / "model.gguf", foreign(network("qwen2"), byte_pairs(name)), "F32")


def test_a_file_that_llama_cpp_does_not_take_is_refused_in_its_words(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", foreign(network("llama"), byte_pairs("qwen2")), "F32")
    content = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "other.gguf").write_bytes(content.replace(b"general.architecture", b"general.architectura"))
    with (
        pytest.raises(ValueError, match=r"other\.gguf: llama\.cpp does not open it: .*error"),
        llama_cpp(tmp_path / "other.gguf"),
    ):
        pass


def test_our_own_way_of_cutting_has_no_name_there_and_the_remedy_is_said(tmp_path: Path) -> None:
    given = foreign(network("qwen2"), _own(BytePairs(vocab_size=VOCAB_SIZE)))
    with pytest.raises(
        ValueError, match=r"no equal in llama\.cpp: .* train the tokenizer with tokenizer\.cut=qwen2"
    ):
        write_gguf(tmp_path / "model.gguf", given, "F32")
