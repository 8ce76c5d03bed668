"""What holds for every tokenizer: our five kinds, others built as published ones are, and imported ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

from foreign_tokenizers import make_pieces, make_ranks
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.tokenizers.special_tokens import SPECIAL_TOKENS
from rootlm.tokenizers.split_patterns import ENCODINGS
from rootlm.tokenizers.stream_decoder import WholeStream
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import KINDS, train
from rootlm.tokenizers.words import Words

SHIPPED = Path(__file__).parent.parent / "src" / "rootlm" / "shipped"
VOCAB_SIZE = 1500
OURS = {**KINDS, "spaced": partial(Words, cut="spaces")}
LOSSLESS = ("bpe", "unigram", "wordpiece", "character")
SNIPPETS = (
    *(
        "床前明月光",
        "疑是地上霜。",
        "The quality of mercy",
        "isn't",
        "x",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u3000",
    ),
    *(
        "😀",
        "👩‍👩‍👧",
        "e\u0301",
        "é",
        "\x00",
        "\x7f",
        "\ufeff",
        "\u200b",
        "\ufffd",
        "𠀀",
        "龘",
        "한국어",
        "ไทย",
    ),
    *(
        "##",
        "#",
        "▁",
        "Ġ",
        "<0x41>",
        "<0xE5>",
        "<unk>",
        "[UNK]",
        "##a",
        "12345",
        "３",
        "١٢",
        "’tis",
        "_",
        "--",
    ),
    *SPECIAL_TOKENS,
    *("<s>", "</s>", "[CLS]", "[SEP]", "<|im_", "start|>"),
)
law = settings(deadline=None, derandomize=True, max_examples=80)
plain = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(SNIPPETS), max_size=12).map("".join))


@cache
def texts() -> list[str]:
    """About 400 kB of poems and plays."""
    found: list[str] = []
    for name in ("poems", "shakespeare"):
        size = 0
        for document in read(SHIPPED / f"{name}.jsonl.zst", Reading(), Faults("stop")):
            found.append(document.text[:20_000])
            size += len(found[-1].encode())
            if size > 200_000:
                break
    return found


@cache
def ours(kind: str) -> Tokenizer:
    return train(OURS[kind](vocab_size=VOCAB_SIZE), texts())


def byte_pairs_of_gpt2() -> tuple[Any, dict[str, str]]:
    engine = tokenizers.Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn(engine, trainers.BpeTrainer(vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False))
    engine.add_special_tokens(["<|endoftext|>"])
    return engine, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}


def word_pieces_of_bert() -> tuple[Any, dict[str, str]]:
    engine = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learn(
        engine, trainers.WordPieceTrainer(vocab_size=VOCAB_SIZE, special_tokens=special, show_progress=False)
    )
    engine.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    engine.enable_truncation(8)
    return engine, {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}


def sentence_pieces_of_llama() -> tuple[Any, dict[str, str]]:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted({letter for text in texts()[::7] for letter in text} - {" "} | {"▁"})
    vocabulary = {piece: number for number, piece in enumerate([*pieces, *letters, "▁t", "▁th", "▁the"])}
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e")]
    engine = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    engine.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    engine.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in pieces[:3]])
    return engine, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def unigram_of_t5() -> tuple[Any, dict[str, str]]:
    letters = sorted({letter for text in texts()[::7] for letter in text if not letter.isspace()})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁the", -3.0)]
    engine = tokenizers.Tokenizer(models.Unigram([*pieces, *((letter, -5.0) for letter in letters)], 2))
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.decoder = decoders.Metaspace()
    engine.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return engine, {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def learn(engine: Any, trainer: Any) -> None:
    engine.train_from_iterator(texts(), trainer)


PUBLISHED: dict[str, Callable[[], tuple[Any, dict[str, str]]]] = {
    "gpt2": byte_pairs_of_gpt2,
    "bert": word_pieces_of_bert,
    "llama": sentence_pieces_of_llama,
    "t5": unigram_of_t5,
}


IMPORTED: dict[str, Callable[[Path], Path]] = {
    "unigram pieces": lambda folder: make_pieces(
        folder, "unigram", byte_fallback=True, user_defined_symbols=["<sep>", "\n"]
    ),
    "pieces of pairs": lambda folder: make_pieces(folder, "bpe", remove_extra_whitespaces=False),
    "ranks": lambda folder: make_ranks(folder, ENCODINGS["o200k_base"].pattern),
}


@cache
def published(name: str, folder: Path) -> Tokenizer:
    if name in IMPORTED:
        return Tokenizer.load(IMPORTED[name](folder), pattern="o200k_base")
    engine, config = PUBLISHED[name]()
    folder.mkdir()
    engine.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.load(folder)


@pytest.fixture(scope="module", params=[*OURS, *PUBLISHED, *IMPORTED])
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Every member in turn."""
    if request.param in OURS:
        return ours(request.param)
    return published(request.param, tmp_path_factory.getbasetemp() / request.param)


@pytest.mark.parametrize("kind", LOSSLESS)
@law
@given(text=plain)
def test_what_was_encoded_is_decoded_to_the_same_text(kind: str, text: str) -> None:
    tokenizer = ours(kind)
    assert tokenizer.lossless
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.lost_bytes(text) == 0


def test_a_long_text_comes_back(member: Tokenizer) -> None:
    whole = "\n\n".join(texts())
    if member.lossless:
        assert member.decode(member.encode(whole)) == whole


@law
@given(data=st.data())
def test_no_loss_is_claimed_only_where_the_text_comes_back(member: Tokenizer, data: st.DataObject) -> None:
    text = data.draw(plain)
    lost = member.lost_bytes(text)
    assert 0 <= lost <= len(text.encode())
    spaces_aside = member.decode(member.encode(text)).replace(" ", "")
    if lost == 0 and not spaces_aside.count("\ufffd"):
        assert spaces_aside == text.replace(" ", "")


@law
@given(data=st.data())
def test_plain_text_never_makes_a_special_token(member: Tokenizer, data: st.DataObject) -> None:
    names = [member.token_text(number) for number in sorted(member.special_ids)]
    parts = data.draw(st.lists(st.one_of(st.sampled_from(names), st.sampled_from(SNIPPETS)), max_size=8))
    text = "".join(parts)
    assert member.special_ids.isdisjoint(member.encode(text))
    assert member.special_ids.isdisjoint(member.encode_batch([text, "x", text])[2])


@law
@given(data=st.data())
def test_a_batch_gives_the_same_ids_as_one_text_at_a_time(member: Tokenizer, data: st.DataObject) -> None:
    batch = data.draw(st.lists(plain, max_size=5))
    assert member.encode_batch(batch) == [member.encode(text) for text in batch]


@pytest.mark.parametrize("kind", ["bpe", "character"])
def test_the_fast_encoder_is_used_and_equals_the_reference_on_every_text(kind: str) -> None:
    tokenizer = ours(kind)
    engine = tokenizers.Tokenizer.from_str(json.dumps(tokenizer._spec))
    engine.encode_special_tokens = True
    assert tokenizer._codec._fast is not None  # type: ignore[union-attr]
    expected = [encoding.ids for encoding in engine.encode_batch(texts(), add_special_tokens=False)]
    assert tokenizer.encode_batch(texts()) == expected


@law
@given(data=st.data())
def test_a_stream_says_what_whole_decoding_says(member: Tokenizer, data: st.DataObject) -> None:
    known = [number for number in range(member.vocab_size) if member.knows(number)]
    ids = data.draw(st.lists(st.sampled_from(known), max_size=30))
    stream = member.stream()
    assert "".join([*map(stream.feed, ids), stream.finish()]) == member.decode(ids)


@law
@given(data=st.data())
def test_a_stream_never_tears_a_character(member: Tokenizer, data: st.DataObject) -> None:
    text = data.draw(plain.filter(lambda text: "\ufffd" not in text))
    stream = member.stream()
    ids = [*member.encode(text), member.eos_id]
    said = "".join([*map(stream.feed, ids), stream.finish()])
    assert "\ufffd" not in said
    assert said == member.decode(ids)


def test_text_that_a_later_token_still_changes_is_held_back() -> None:
    words = ["it", " '", " s", " a", " dog", " '", " s", " life", "."]
    stream = WholeStream(lambda ids: "".join(words[number] for number in ids).replace(" ' ", "'"))
    assert "".join([*map(stream.feed, range(len(words))), stream.finish()]) == "it's a dog's life."


def test_saving_and_loading_change_nothing(member: Tokenizer, tmp_path: Path) -> None:
    member.save(tmp_path / "once")
    once = Tokenizer.load(tmp_path / "once")
    once.save(tmp_path / "twice")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert once.fingerprint == member.fingerprint
    assert once.special_ids == member.special_ids
    roles = ("bos_id", "eos_id", "pad_id", "unk_id", "vocab_size", "lossless")
    assert [getattr(once, role) for role in roles] == [getattr(member, role) for role in roles]
    assert once.encode_batch(SNIPPETS) == member.encode_batch(SNIPPETS)


@pytest.mark.parametrize("kind", OURS)
def test_training_twice_gives_the_same_vocabulary(kind: str) -> None:
    assert train(OURS[kind](vocab_size=VOCAB_SIZE), iter(texts())).fingerprint == ours(kind).fingerprint


@pytest.mark.parametrize("kind", OURS)
def test_our_special_tokens_are_the_first_four_ids(kind: str) -> None:
    tokenizer = ours(kind)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 0, 1)
    assert [tokenizer.token_text(number) for number in range(4)] == list(SPECIAL_TOKENS)
    assert tokenizer.special_ids == {0, 1, 2, 3}
    assert tokenizer.decode([0, 2, *tokenizer.encode("月"), 3, 0]) == tokenizer.decode(tokenizer.encode("月"))
    if kind != "character":
        assert tokenizer.vocab_size == VOCAB_SIZE


def test_transformers_gives_the_same_ids(member: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    member.save(tmp_path)
    reference = AutoTokenizer.from_pretrained(str(tmp_path))
    assert (reference.bos_token_id, reference.eos_token_id) == (member.bos_id, member.eos_id)
    assert (reference.pad_token_id, reference.unk_token_id) == (member.pad_id, member.unk_id)
    for text in [*texts()[:20], "床前明月光 moonlight, isn't it?\n\n 😀"]:
        words: dict[str, Any] = {"text": text}
        if member in (ours("word"), ours("spaced")):
            words = {"text": member._codec.split(text), "is_split_into_words": True}  # type: ignore[union-attr]
        assert reference(**words, add_special_tokens=False)["input_ids"] == member.encode(text)
