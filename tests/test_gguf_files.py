"""GGUF files: written and read again they are the same, and a damaged one is refused in one line."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from gguf_members import CONFIGS, VOCAB_SIZE, byte_pairs, foreign, network, one_line, scored_pieces
from rootlm.models.foreign.foreign_model import ForeignModel, MadeTensors
from rootlm.models.foreign.gguf_model import read_gguf, write_gguf
from rootlm.models.foreign.gguf_reading import GgufFile

_CHANGED = {
    *("torch_dtype", "dtype", "transformers_version", "architectures"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file with a tokenizer, a template and settings of every kind."""
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    made = foreign(network("llama 3"), byte_pairs("qwen2"), temperature=0.7, top_k=40)
    write_gguf(
        path, ForeignModel(**{**vars(made), "chat_template": "{{ messages }}", "name": "small"}), "Q8_0"
    )
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    made = network(name)
    given = foreign(made)
    write_gguf(tmp_path / "model.gguf", given, "F32")
    back = read_gguf(tmp_path / "model.gguf")
    assert dict(back.tensors.shapes) == dict(given.tensors.shapes)
    for part in given.tensors.shapes:
        ours, theirs = back.tensors.read(part), given.tensors.read(part)
        # Gemma's gains lie about one in a file and about zero outside.
        close = 1e-6 if name.startswith("gemma") and ours.ndim == 1 else 0
        assert (ours - theirs).abs().max() <= close, part
        assert back.tensors.dtype(part) == ours.dtype == torch.float32
    if name == "mistral":
        assert back.config["model_type"] == "llama"
        return
    again = type(made).config_class(**back.config)
    for key in (set(again.to_diff_dict()) | set(made.config.to_diff_dict())) - _CHANGED:
        assert getattr(again, key) == getattr(made.config, key), key


@pytest.mark.parametrize(("kind", "close"), [("F16", 2e-3), ("BF16", 2e-2), ("Q8_0", 2e-2), ("Q4_0", 0.3)])
def test_smaller_types_come_back_within_their_step(kind: str, close: float, tmp_path: Path) -> None:
    given = foreign(network("qwen2"))
    write_gguf(tmp_path / "model.gguf", given, kind)  # type: ignore[arg-type]
    back = read_gguf(tmp_path / "model.gguf").tensors
    worst = max(float((back.read(part) - given.tensors.read(part)).abs().max()) for part in back.shapes)
    assert 0 < worst < close


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_the_package_reads_what_is_written(kind: str, tmp_path: Path) -> None:
    given = foreign(network("llama"), byte_pairs("qwen2"))
    write_gguf(tmp_path / "model.gguf", given, kind)  # type: ignore[arg-type]
    ours, theirs = GgufFile(tmp_path / "model.gguf"), gguf.GGUFReader(tmp_path / "model.gguf")
    assert {tensor.name for tensor in theirs.tensors} == set(ours.tensors)
    for tensor in theirs.tensors:
        entry = ours.tensors[tensor.name]
        assert (tensor.tensor_type, tensor.data_offset) == (entry.layout.number, entry.start)
        assert tensor.data.tobytes() == ours.bytes_of(tensor.name).tobytes()
    for key, value in ours.settings.items():
        contents = theirs.fields[key].contents()
        assert contents == (pytest.approx(value) if isinstance(value, float) else value), key


def test_what_the_package_writes_is_read(tmp_path: Path) -> None:
    made = network("gpt2")
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "gpt2")
    writer.add_custom_alignment(64)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(256)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-5)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, 2)
    for part, values in made.state_dict().items():
        if part == "lm_head.weight":
            continue
        turned = values.mT if values.ndim == 2 and ".h." in part else values
        written = names.get_name(part, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(written, np.ascontiguousarray(turned.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    back = read_gguf(tmp_path / "model.gguf")
    again = type(made)(type(made).config_class(**back.config)).eval()
    again.load_state_dict({part: back.tensors.read(part) for part in back.tensors.shapes}, strict=False)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, made(ids).logits)


def test_the_rest_of_a_model_comes_back(whole: Path) -> None:
    back = read_gguf(whole)
    assert back.name == "small"
    assert back.chat_template == "{{ messages }}"
    assert back.generation == {"bos_token_id": 0, "eos_token_id": 1, "temperature": 0.7, "top_k": 40}
    given, content = json.loads(byte_pairs("qwen2")), json.loads(back.tokenizer_json or "")
    assert content["model"]["vocab"] == given["model"]["vocab"]
    assert content["model"]["merges"] == given["model"]["merges"]
    assert [token["content"] for token in content["added_tokens"]] == ["<|endoftext|>", "<|im_end|>"]


def test_plain_tensors_are_views_of_the_file_and_changing_them_changes_no_file(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", foreign(network("qwen2")), "F32")
    before = (tmp_path / "model.gguf").read_bytes()
    tensors = read_gguf(tmp_path / "model.gguf").tensors
    name = "model.embed_tokens.weight"
    assert tensors.read(name).data_ptr() == tensors.read(name).data_ptr()
    tensors.read(name).zero_()
    tensors.let_go(name)
    assert (tmp_path / "model.gguf").read_bytes() == before
    assert tensors.read(name).abs().max() > 0


def test_a_file_that_is_cut_anywhere_is_refused(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    source = random.Random(0)
    begins = min(entry.start for entry in GgufFile(whole).tensors.values())
    cut = tmp_path / "cut.gguf"
    for size in [0, 3, 4, 12, 24, begins, *(source.randrange(begins) for _ in range(40)), len(content) - 40]:
        cut.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"cut\.gguf") as caught:
            read_gguf(cut)
        assert one_line(caught.value)


def test_no_damaged_header_does_more_than_be_refused(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    source = random.Random(0)
    begins = min(entry.start for entry in GgufFile(whole).tensors.values())
    damaged = tmp_path / "damaged.gguf"
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(source.randint(1, 3)):
            changed[source.randrange(begins)] = source.choice([0, 1, 255, source.randrange(256)])
        damaged.write_bytes(changed)
        try:
            tensors = read_gguf(damaged).tensors
            for part in list(tensors.shapes)[:4]:
                tensors.read(part)
        except ValueError as error:
            refused += 1
            assert one_line(error)
            assert str(damaged) in str(error)
    assert refused > 30


def _header(tensors: int = 0, settings: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, settings) + rest


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _tensor(name: str, sizes: tuple[int, ...], kind: int = 0, start: int = 0) -> bytes:
    return _text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, start)


_LIES = {
    "another kind": (b"PK\x03\x04" + bytes(40), "does not begin with GGUF"),
    "an old version": (_header(version=1), "version 1 is not known"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "tensors": (_header(tensors=1 << 60), "needs .* bytes and 0 are left"),
    "a text": (_header(0, 1, struct.pack("<Q", 1 << 62) + bytes(9)), "byte 32: the name of setting 1 needs"),
    "a list": (
        _header(0, 1, _text("a.list") + struct.pack("<IIQ", 9, 8, 1 << 60)),
        "a.list with .* texts needs",
    ),
    "numbers": (
        _header(0, 1, _text("a.list") + struct.pack("<IIQ", 9, 4, 1 << 60)),
        "a.list with .* numbers needs",
    ),
    "a type": (_header(0, 1, _text("key") + struct.pack("<II", 99, 0)), "key has type 99"),
    "twice": (_header(0, 2, (_text("key") + struct.pack("<IB", 0, 1)) * 2), "key is given twice"),
    "alignment": (
        _header(0, 1, _text("general.alignment") + struct.pack("<II", 4, 3)),
        "general.alignment is 3",
    ),
    "parts": (_header(0, 1, _text("split.count") + struct.pack("<IH", 2, 3)), "llama-gguf-split --merge"),
    "axes": (_header(1, 0, _text("x") + struct.pack("<I", 9) + bytes(80)), "tensor x has 9 axes"),
    "blocks": (_header(1, 0, _tensor("x", (31, 2), 8)), r"shape \[31, 2\] cannot be made of blocks of 32"),
    "an unread type": (_header(1, 0, _tensor("x", (256, 2), 23)), r"tensor x has type 23 \(IQ4_XS\)"),
    "a size": (_header(1, 0, _tensor("x", (1 << 40, 1 << 20))), "tensor x ends at byte"),
    "a start": (_header(1, 0, _tensor("x", (4, 2), start=7) + bytes(99)), "begins at 7, no multiple of 32"),
    "one on another": (
        _header(2, 0, _tensor("x", (16, 2)) + _tensor("y", (16, 2), start=32) + bytes(300)),
        "tensors x and y lie on one another",
    ),
    "the same name": (
        _header(2, 0, _tensor("x", (8, 1)) + _tensor("x", (8, 1), start=32) + bytes(300)),
        "x is listed twice",
    ),
}


@pytest.mark.parametrize("lie", _LIES)
def test_a_lying_header_is_refused_by_its_place(lie: str, tmp_path: Path) -> None:
    content, expected = _LIES[lie]
    path = tmp_path / "lie.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=expected) as caught:
        GgufFile(path)
    assert str(path) in str(caught.value)
    assert one_line(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.gguf: cannot be read"):
        read_gguf(tmp_path / "absent.gguf")


def test_a_tokenizer_of_another_size_is_refused(whole: Path, tmp_path: Path) -> None:
    given = foreign(network("llama"), byte_pairs("qwen2"))
    made = given.tensors
    small = {name: made.read(name) for name in made.shapes}
    small |= {name: small[name][:600] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    config = {**given.config, "vocab_size": 600}
    with pytest.raises(ValueError, match="ids up to 639 and the embedding 600 rows"):
        write_gguf(tmp_path / "model.gguf", ForeignModel(config, MadeTensors.of(small), given.tokenizer_json))
    content = whole.read_bytes()
    at = content.index(_text("tokenizer.ggml.tokens")) + len(_text("tokenizer.ggml.tokens"))
    kinds, count, first = struct.unpack_from("<QQQ", content, at)
    assert count == VOCAB_SIZE
    second = struct.unpack_from("<Q", content, at + 24 + first)[0]
    joined = struct.pack("<QQQ", kinds, count - 1, first + 8 + second)
    (tmp_path / "torn.gguf").write_bytes(content[:at] + joined + content[at + 24 :])
    with pytest.raises(ValueError, match="639 entries and the embedding 640 rows"):
        read_gguf(tmp_path / "torn.gguf")


def test_what_llama_cpp_has_no_equal_for_is_refused_by_its_key(tmp_path: Path) -> None:
    given = foreign(network("llama"))
    cases = {
        "model_type": ("gpt_neox", "model_type 'gpt_neox' cannot be written as GGUF"),
        "hidden_act": ("gelu", "hidden_act='gelu' has no equal"),
        "logit_scale": (0.5, "logit_scale=0.5 has no equal"),
        "rope_scaling": ({"rope_type": "dynamic", "factor": 2.0}, "rope_scaling 'dynamic' has no equal"),
        "sliding_window": (16, "sliding_window=16 has no equal .* context=16 writes it"),
        "partial_rotary_factor": (0.5, "partial_rotary_factor=0.5 has no equal"),
    }
    for key, (value, expected) in cases.items():
        config = {**given.config, "rope_parameters": None, key: value}
        with pytest.raises(ValueError, match=expected):
            write_gguf(tmp_path / "model.gguf", ForeignModel(config, given.tensors))
    assert not (tmp_path / "model.gguf").exists()


def test_a_tensor_without_a_name_is_refused(tmp_path: Path) -> None:
    given = foreign(network("llama"))
    more = {name: given.tensors.read(name) for name in given.tensors.shapes} | {
        "head.weight": torch.zeros(2, 2)
    }
    with pytest.raises(ValueError, match=r"head\.weight has no name in llama\.cpp's llama"):
        write_gguf(tmp_path / "model.gguf", ForeignModel(given.config, MadeTensors.of(more)))


@pytest.mark.parametrize("prefix", [True, False])
def test_scored_pieces_come_back(prefix: bool, tmp_path: Path) -> None:
    content = scored_pieces(prefix=prefix)
    given = foreign(network("llama"), content, bos_token_id=1, eos_token_id=2)
    write_gguf(tmp_path / "model.gguf", given, "F32")
    back = json.loads(read_gguf(tmp_path / "model.gguf").tokenizer_json or "")
    assert back["model"]["vocab"] == json.loads(content)["model"]["vocab"]
    assert back["model"]["merges"] == json.loads(content)["model"]["merges"]
