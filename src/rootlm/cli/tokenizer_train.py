"""rootlm tokenizer train CORPUS… out=FOLDER [kind=bpe] [vocab_size=8192] [key=value …]

Learns a tokenizer from prepared corpora or from files of text, and writes tokenizer.json beside
tokenizer_config.json, which tokenizers and transformers read as they are.

  bpe         pairs of bytes joined by frequency; nothing is unknown; the usual choice
  unigram     the pieces under which the text is most likely; rare characters in bytes
  wordpiece   the longest known piece first, over bytes
  word        whole words, Chinese cut by rjieba; a word that is not among the most frequent is <unk>
  character   one token per character; rare characters in bytes

  rootlm tokenizer train corpora/mine out=tokenizers/mine vocab_size=4096
  rootlm tokenizer train poems.txt out=tokenizers/words kind=word vocab_size=20000
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, Override, load


class Settings(Config):
    """What to learn from, and what to learn."""

    corpus: list[str] = Field(default_factory=list)
    """Folders that rootlm data prepare wrote, or files, folders and globs of text."""
    out: str
    """The folder of the tokenizer."""
    kind: Literal["bpe", "unigram", "wordpiece", "word", "character"] = "bpe"
    """What a token is."""
    vocab_size: int | None = None
    """Entries; for words and characters, at most so many. None: 8192, and 16384 for words."""
    sample_bytes: int | None = None
    """Learn from at most this much text, drawn evenly. None: 20 MB."""
    split: str = "train"
    """Which split of a corpus to read."""


def run(tokens: list[str]) -> None:
    """Train a tokenizer and print what came out."""
    from rich.console import Console

    from rootlm.tokenizers.text_sample import documents
    from rootlm.tokenizers.tokenizer_measures import longest_tokens
    from rootlm.tokenizers.tokenizer_training import KINDS, train

    own, overrides = parse(tokens, Settings, ["corpus*"], rest=Config)
    sizes = {"vocab_size": own.vocab_size, "sample_bytes": own.sample_bytes}
    overrides += [Override(name, size) for name, size in sizes.items() if size is not None]
    settings = load(KINDS[own.kind], None, overrides)
    if not own.corpus:
        raise ValueError(
            "no text given; name a corpus folder or files: rootlm tokenizer train CORPUS out=FOLDER"
        )
    console = Console(highlight=False, soft_wrap=True)
    started_at = time.perf_counter()
    with console.status(f"learning {own.kind} from {', '.join(own.corpus)}"):
        found = documents([Path(path) for path in own.corpus], own.split)
        tokenizer = train(settings, (document.text for document in found))
    tokenizer.save(Path(own.out))
    lossless = "loses no text" if tokenizer.lossless else "loses unknown words, and says how many bytes"
    seconds = time.perf_counter() - started_at
    console.print(f"{own.kind}: {tokenizer.vocab_size:,} entries in {seconds:.1f} s; {lossless}")
    for name, longest in longest_tokens(tokenizer, 8).items():
        if longest:
            console.print(f"longest, {name}: " + "  ".join(longest), markup=False)
    console.print(f"\nwritten: {own.out}/tokenizer.json   fingerprint: {tokenizer.fingerprint[:16]}")
    console.print(f"look at it:     rootlm tokenizer report {own.out} {own.corpus[0]}")
