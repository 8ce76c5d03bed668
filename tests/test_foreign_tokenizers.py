"""Tokenizers of other libraries give the ids that those libraries give, on ten thousand strings."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

import foreign_tokenizers as made
from rootlm.tokenizers.added_tokens import added_token
from rootlm.tokenizers.byte_pair_spec import byte_pair_spec
from rootlm.tokenizers.split_patterns import ENCODINGS
from rootlm.tokenizers.token_bytes import byte_letters
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_files import Roles

PLAIN = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
PIECES: dict[str, dict[str, Any]] = {
    "usual": {},
    "llama": {**PLAIN, "byte_fallback": True, "split_digits": True},
    "gemma": {
        **PLAIN,
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "user_defined_symbols": ["<sep>", "\n", "\n\n", "\n\n\n", "\t"],
    },
    "symbols": {
        "user_defined_symbols": ["<sep>", "\n", "①", "the"],
        "control_symbols": ["<ctl>"],
        "pad_id": 3,
    },
    "folded": {"normalization_rule_name": "nmt_nfkc_cf", "byte_fallback": True},
}


SHAPES = [(kind, algorithm) for kind in PIECES for algorithm in ("unigram", "bpe")]
SHAPES.remove(("gemma", "unigram"))  # two cuts of one run of symbols are equally good there


@pytest.mark.parametrize(("kind", "algorithm"), SHAPES)
def test_pieces_are_those_of_sentencepiece(kind: str, algorithm: str, tmp_path: Path) -> None:
    import sentencepiece

    path = made.make_pieces(tmp_path, algorithm, **PIECES[kind])
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours = Tokenizer.load(path)
    assert ours.origin == path
    assert (ours.bos_id, ours.eos_id, ours.unk_id) == (1, 2, 0)
    texts = made.strings()
    expected = reference.encode(texts)
    found = ours.encode_batch(texts)
    wrong = [text for text, one, other in zip(texts, expected, found, strict=True) if one != other]
    assert not wrong, f"{len(wrong)}: {wrong[:5]}"
    said = [(text, ids) for text, ids in zip(texts, found, strict=True) if 0 not in ids]
    assert len(said) > 1000
    told = [text for text, ids in said if ours.decode(ids) != reference.decode(ids)]
    assert not told, f"{len(told)}: {told[:5]}"


@pytest.mark.parametrize("name", ["r50k_base", "p50k_base", "cl100k_base", "o200k_base"])
def test_ranks_are_cut_and_joined_as_by_tiktoken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    published = getattr(openai_public, name)()
    path = made.make_ranks(tmp_path, ENCODINGS[name].pattern)
    reference = tiktoken.Encoding(
        "made", pat_str=published["pat_str"], mergeable_ranks=load_tiktoken_bpe(str(path)), special_tokens={}
    )
    ours = Tokenizer.load(path, pattern=name)
    texts = made.strings()
    expected = reference.encode_ordinary_batch(texts, num_threads=1)
    found = ours.encode_batch(texts)
    wrong = [text for text, one, other in zip(texts, expected, found, strict=True) if one != other]
    assert not wrong, f"{len(wrong)}: {wrong[:5]}"
    assert ours.lossless
    assert [ours.decode(ids) for ids in found] == texts
    assert published["special_tokens"] == ENCODINGS[name].special
    assert [ours.token_text(ours.eos_id)] == ["<|endoftext|>"]


@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base", "o200k_base"])
@pytest.mark.parametrize("seed", range(6))
def test_runs_of_few_letters_are_joined_in_the_same_order(
    name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    draw = random.Random(seed)
    letters = draw.choice(["a", "ab", " \n", " \na"])
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < 262:
        more = b"".join(
            draw.choices(
                [token for token in tokens if token.decode("latin-1") in letters or len(token) > 1], k=2
            )
        )
        if len(more) > 1 and more not in tokens:
            tokens.append(more)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    path = tmp_path / "few.tiktoken"
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items()))
    pattern = getattr(openai_public, name)()["pat_str"]
    reference = tiktoken.Encoding("few", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    ours = Tokenizer.load(path, pattern=name)
    for _ in range(500):
        text = "".join(draw.choices(letters, k=draw.randrange(1, 30)))
        assert ours.encode(text) == reference.encode_ordinary(text), text


def test_a_text_that_spells_a_special_entry_is_read_letter_by_letter() -> None:
    vocabulary = {**byte_letters(), "<s>": 256, "</s>": 257}
    spec = byte_pair_spec(vocabulary, [], pattern=r"[\s\S]+", whole_words=True)
    spec["added_tokens"] = [added_token(256, "<s>", special=True), added_token(257, "</s>", special=True)]
    tokenizer = Tokenizer(json.dumps(spec), Roles("<s>", "</s>"))
    assert tokenizer.encode("<s>") == list(b"<s>")
    assert tokenizer.encode_marked("<s>a</s>") == [256, ord("a"), 257]
    assert tokenizer.decode(tokenizer.encode("</s>")) == "</s>"


def test_ranks_of_llama_3_are_what_transformers_reads(tmp_path: Path) -> None:
    from transformers.convert_slow_tokenizer import TikTokenConverter

    pattern = TikTokenConverter.__init__.__defaults__[1]  # type: ignore[index]
    path = made.make_ranks(tmp_path, pattern)
    reference = TikTokenConverter(vocab_file=str(path)).converted()
    ours = Tokenizer.load(path, pattern="llama3")
    found = ours.encode_batch(made.strings())
    assert found == [one.ids for one in reference.encode_batch(made.strings(), add_special_tokens=False)]
    assert (ours.bos_id, ours.eos_id) == (1500, 1501)
    assert ours.ids_of(["<|eot_id|>"]) == [1509]


ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MERGED = {
    "GPT2Tokenizer": (("<|endoftext|>",), {}),
    "RobertaTokenizer": (ROBERTA, {}),
    "BartTokenizer": (ROBERTA, {"add_prefix_space": True}),
    "Qwen2Tokenizer": (
        ("<|endoftext|>",),
        {
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "added_tokens_decoder": {
                "1500": {"content": "<|im_start|>", "special": True},
                "1501": {"content": "<|im_end|>", "special": True},
            },
        },
    ),
}


@pytest.mark.parametrize("kind", MERGED)
def test_merges_give_what_transformers_gives(kind: str, tmp_path: Path) -> None:
    special, settings = MERGED[kind]
    made.make_merges(tmp_path, special)
    made.write_settings(tmp_path, tokenizer_class=kind, **settings)
    equals_transformers(tmp_path, kind)


@pytest.mark.parametrize("cased", [True, False])
@pytest.mark.parametrize("settled", [True, False])
def test_word_pieces_give_what_transformers_gives(cased: bool, settled: bool, tmp_path: Path) -> None:
    made.make_words(tmp_path, cased=cased)
    ours = Tokenizer.load(tmp_path / "vocab.txt")
    made.write_settings(
        tmp_path, do_lower_case=not cased, **({"tokenizer_class": "BertTokenizer"} if settled else {})
    )
    equals_transformers(tmp_path, "BertTokenizer")
    assert Tokenizer.load(tmp_path).fingerprint == ours.fingerprint


def equals_transformers(folder: Path, kind: str) -> None:
    """Hold ids, text and roles to those of the class that published such files."""
    import transformers

    reference = getattr(transformers, kind).from_pretrained(str(folder))
    ours = Tokenizer.load(folder)
    texts = [
        text for text in made.strings() if not any(name in text for name in reference.all_special_tokens)
    ]
    assert len(texts) > 8000
    found = ours.encode_batch(texts)
    expected = reference(texts, add_special_tokens=False)["input_ids"]
    wrong = [text for text, one, other in zip(texts, expected, found, strict=True) if one != other]
    assert not wrong, f"{len(wrong)}: {wrong[:5]}"
    for ids in found[::7]:
        assert ours.decode(ids) == reference.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    names = {role: getattr(reference, f"{role}_token_id") for role in ("eos", "pad", "mask")}
    names["eos"] = reference.sep_token_id if names["eos"] is None else names["eos"]
    assert {role: getattr(ours, f"{role}_id") for role in names} == names
    marked = [f"{text}{name}" for text in texts[:300] for name in reference.all_special_tokens[:3]]
    expected = reference(marked, add_special_tokens=False)["input_ids"]
    assert [ours.encode_marked(text) for text in marked] == expected


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("LlamaTokenizer", "bpe"), ("GemmaTokenizer", "bpe"), ("T5Tokenizer", "unigram")]
)
def test_pieces_with_settings_are_what_transformers_reads(kind: str, algorithm: str, tmp_path: Path) -> None:
    shape = {"LlamaTokenizer": "llama", "GemmaTokenizer": "gemma", "T5Tokenizer": "usual"}[kind]
    path = made.make_pieces(tmp_path, algorithm, **PIECES[shape])
    if kind == "T5Tokenizer":
        path.rename(tmp_path / "spiece.model")
    made.write_settings(tmp_path, tokenizer_class=kind, legacy=False)
    if kind == "LlamaTokenizer":
        # In this way of reading only: with legacy=true a text that begins with a space gets another.
        equals_transformers(tmp_path, kind)
    ours = Tokenizer.load(tmp_path)
    ours.save(tmp_path / "saved")
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    wrapped = reference("床前")["input_ids"]
    inside = ours.encode("床前")
    assert wrapped == ([*inside, ours.eos_id] if kind == "T5Tokenizer" else [ours.bos_id, *inside])
    if kind == "T5Tokenizer":
        assert ours.ids_of(["<extra_id_99>", "<extra_id_0>"]) == [2600, 2699]
        assert ours.vocab_size == 2700
