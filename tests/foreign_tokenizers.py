"""Tokenizers as other libraries leave them on disk, made small, and strings on which libraries disagree."""

from __future__ import annotations

import base64
import json
import random
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.tokenizers.token_bytes import byte_letters

SHIPPED = Path(__file__).parent.parent / "src" / "rootlm" / "shipped"
CODE = "def f(x):\n    return {\"a\": [1, 2], 'b': x**2}  # 注释\n\n\nclass A:\n\tpass\n"
PARTS = (
    *(
        "a",
        "aa",
        "the ",
        " the",
        "isn't",
        "DON'T",
        "x",
        "12345",
        "3.14",
        " ",
        "  ",
        "    ",
        "\n",
        "\n\n",
        "\r\n",
    ),
    *(
        "\t",
        "\u3000",
        "\u00a0",
        "哈哈",
        "床前明月光",
        "疑是地上霜。",
        "，",
        "😀",
        "👩‍👩‍👧",
        "🇨🇳",
        "é",
        "ß",
        "İ",
        "ﬁ",
        "Ａ",
    ),
    *(
        "<s>",
        "</s>",
        "<unk>",
        "<0x41>",
        "<sep>",
        "[CLS]",
        "[UNK]",
        "##a",
        "▁",
        "Ġ",
        "<|endoftext|>",
        "_",
        "--",
    ),
    *("한국어", "ไทย", "العربية", "हिन्दी", "𠀀", "\u200b", "\ufeff", "\x00", "\x7f", "\u2028", "١٢", CODE),
)


@cache
def lines() -> list[str]:
    """About 150 kB of poems and plays, by lines."""
    found: list[str] = []
    for name in ("poems", "shakespeare"):
        size = 0
        for document in read(SHIPPED / f"{name}.jsonl.zst", Reading(), Faults("stop")):
            found += [line for line in document.text[:20_000].split("\n") if line]
            size += len(document.text.encode())
            if size > 80_000:
                break
    return found


@cache
def strings(count: int = 10_000) -> list[str]:
    """Text, what is awkward about text, and random Unicode; always the same."""
    draw = random.Random(0)
    found = ["", *lines()[: count // 4]]
    while len(found) < count // 2:
        found.append("".join(draw.choices(PARTS, k=draw.randrange(1, 12))))
    while len(found) < count:
        found.append("".join(_character(draw) for _ in range(draw.randrange(1, 30))))
    return found


def _character(draw: random.Random) -> str:
    start, end = draw.choice(
        [(0x20, 0x7F), (0x20, 0x7F), (0x4E00, 0xA000), (0x80, 0x3000), (0x1F300, 0x1F700), (0, 0x110000)]
    )
    number = draw.randrange(start, end)
    return chr(number) if not 0xD800 <= number < 0xE000 else " "


def make_pieces(folder: Path, algorithm: str, **settings: Any) -> Path:
    """A SentencePiece model trained here."""
    import sentencepiece

    stream = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines()),
        model_writer=stream,
        vocab_size=2600,
        model_type=algorithm,
        character_coverage=0.98,
        minloglevel=2,
        num_threads=1,
        **settings,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(stream.getvalue())
    return folder / "tokenizer.model"


def make_ranks(folder: Path, pattern: str) -> Path:
    """A file of ranks: byte pairs trained here on text cut by `pattern`, written as tiktoken writes them."""
    engine = tokenizers.Tokenizer(models.BPE())
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cut = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    engine.pre_tokenizer = pre_tokenizers.Sequence([cut, letters])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    engine.train_from_iterator([CODE * 9, *lines()], trainer)
    numbers = byte_letters()
    rows = [
        b"%s %d\n" % (base64.b64encode(bytes(numbers[letter] for letter in token)), rank)
        for token, rank in sorted(engine.get_vocab().items(), key=lambda pair: pair[1])
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made.tiktoken").write_bytes(b"".join(rows))
    return folder / "made.tiktoken"


def make_merges(folder: Path, special: tuple[str, ...]) -> Path:
    """`vocab.json` and `merges.txt` of byte pairs trained here."""
    engine = tokenizers.Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(lines(), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    engine.model.save(str(folder))
    return folder


def make_words(folder: Path, *, cased: bool) -> Path:
    """The `vocab.txt` of word pieces trained here."""
    engine = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    engine.train_from_iterator(lines(), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    engine.model.save(str(folder))
    return folder


def write_settings(folder: Path, **settings: Any) -> Path:
    """`tokenizer_config.json` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    return folder
