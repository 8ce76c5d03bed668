"""A token store holds exactly what the tokenizer made of each document, and says when it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rootlm.data.store import IDS, OFFSETS, Store, build, open_or_build
from rootlm.text.document import Document
from rootlm.tokenizers.byte_pieces import BytePairs
from rootlm.tokenizers.character_pieces import Characters
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import train
from rootlm.tokenizers.words import Words

VERSE = [
    "床前明月光，疑是地上霜。",
    "",
    "To be, or not to be: 😀",
    "<|endoftext|>",
    "举头望明月，低头思故乡。\n" * 50,
]


@cache
def tokenizer(kind: str = "bpe") -> Tokenizer:
    return train(BytePairs(vocab_size=280) if kind == "bpe" else Words(vocab_size=12), VERSE)


def documents() -> Iterator[Document]:
    for number, text in enumerate(VERSE):
        yield Document(text, f"verse:{number}")


def make(folder: Path, kind: str = "bpe") -> Store:
    return build(folder / "tokens", documents(), tokenizer(kind), corpus="c1", split="train")


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_every_document_is_there_as_the_tokenizer_encodes_it(tmp_path: Path, kind: str) -> None:
    store = make(tmp_path, kind)
    assert [store[number].tolist() for number in range(len(store))] == [
        tokenizer(kind).encode(text) for text in VERSE
    ]
    assert store.documents == len(VERSE)
    assert store.tokens == store.offsets[-1] == len(store.ids)
    assert store.document_bytes.tolist() == [len(text.encode()) for text in VERSE]
    assert store.lost_bytes.tolist() == [tokenizer(kind).lost_bytes(text) for text in VERSE]
    assert (store.lost_bytes.sum() > 0) == (kind == "word")


def test_ids_take_as_few_bytes_as_the_vocabulary_allows(tmp_path: Path) -> None:
    assert make(tmp_path).ids.dtype == np.uint16
    many = "".join(map(chr, [*range(0x4E00, 0xA000), *range(0xAC00, 0xD7A4), *range(0x20000, 0x2A000)]))
    characters = train(Characters(vocab_size=80_000), [many])
    assert characters.vocab_size > 2**16
    last = [Document(many[-5:], "last")]
    store = build(tmp_path / "wide", last, characters, corpus="c1", split="train")
    assert store.ids.dtype == np.uint32
    assert store[0].tolist() == characters.encode(many[-5:])


def test_no_documents_make_a_store_without_tokens(tmp_path: Path) -> None:
    store = build(tmp_path / "tokens", [], tokenizer(), corpus="c1", split="test")
    assert (len(store), store.tokens) == (0, 0)


def test_a_view_is_the_file_and_cannot_be_written(tmp_path: Path) -> None:
    view = make(tmp_path)[0]
    assert isinstance(view, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_the_same_store_is_opened_and_another_corpus_builds_it_again(tmp_path: Path) -> None:
    def never() -> Iterator[Document]:
        raise AssertionError("the documents were read again")
        yield

    folder = tmp_path / "tokens"
    first = open_or_build(folder, documents(), tokenizer(), corpus="c1", split="train")
    again = open_or_build(folder, never(), tokenizer(), corpus="c1", split="train")
    assert again.ids.tolist() == first.ids.tolist()
    for corpus, split in (("c2", "train"), ("c2", "test")):
        store = open_or_build(folder, list(documents())[:1], tokenizer(), corpus=corpus, split=split)
        assert (len(store), store.facts.corpus, store.facts.split) == (1, corpus, split)


def test_another_tokenizer_is_refused_and_both_are_named(tmp_path: Path) -> None:
    make(tmp_path)
    made, here = tokenizer().fingerprint[:12], tokenizer("word").fingerprint[:12]
    with pytest.raises(ValueError, match=rf"does not match the store: .*{made}.*{here}"):
        Store.open(tmp_path / "tokens", tokenizer("word"))
    assert Store.open(tmp_path / "tokens").facts.tokenizer == tokenizer().fingerprint


@pytest.mark.parametrize("name", [IDS, OFFSETS])
def test_a_torn_an_edited_and_a_missing_file_are_named(tmp_path: Path, name: str) -> None:
    make(tmp_path)
    file = tmp_path / "tokens" / name
    content = file.read_bytes()
    file.write_bytes(content[:-2])
    with pytest.raises(ValueError, match=rf"{name}: has \d+ bytes, expected \d+; the store is torn"):
        Store.open(tmp_path / "tokens")
    file.write_bytes(content[:-2] + b"\0\1")
    Store.open(tmp_path / "tokens")
    with pytest.raises(ValueError, match=rf"{name}: checksum differs"):
        Store.open(tmp_path / "tokens", verify=True)
    file.unlink()
    with pytest.raises(ValueError, match=rf"{name}: is missing"):
        Store.open(tmp_path / "tokens")


def test_facts_that_are_none_are_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "tokens" / "store.json").write_text('{"documents": "five"}')
    with pytest.raises(ValueError, match=r"store\.json: not a token store"):
        Store.open(tmp_path / "tokens")


def test_a_build_that_stops_leaves_the_old_store_whole(tmp_path: Path) -> None:
    before = make(tmp_path).ids.tolist()

    def broken() -> Iterator[Document]:
        yield from documents()
        raise ValueError("line 6 is broken")

    with pytest.raises(ValueError, match="line 6"):
        build(tmp_path / "tokens", broken(), tokenizer(), corpus="c2", split="train")
    assert Store.open(tmp_path / "tokens", verify=True).ids.tolist() == before
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]
