"""From texts to a tokenizer: draw a bounded sample, learn by the chosen kind, check what was reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from rootlm.tokenizers import word_codec
from rootlm.tokenizers.byte_pieces import BytePairs, WordPieces
from rootlm.tokenizers.character_pieces import Characters
from rootlm.tokenizers.special_tokens import ROLES, mark_special
from rootlm.tokenizers.text_sample import pieces, sample
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_files import Roles
from rootlm.tokenizers.unigram import Unigram
from rootlm.tokenizers.words import Words

TrainTokenizer = Annotated[BytePairs | Unigram | WordPieces | Words | Characters, Field(discriminator="kind")]
"""The settings of a tokenizer to train, told apart by `kind`."""

KINDS: dict[str, type[BytePairs | Unigram | WordPieces | Words | Characters]] = {
    "bpe": BytePairs,
    "unigram": Unigram,
    "wordpiece": WordPieces,
    "word": Words,
    "character": Characters,
}


def train(settings: TrainTokenizer, documents: Iterable[str]) -> Tokenizer:
    """Learn a tokenizer; the same settings and documents give the same one.

    Raises ValueError when there is no text, when `vocab_size` has no room for what every text needs, or when
    the text does not hold enough to fill it.
    """
    if settings.vocab_size < settings.least_vocab_size:
        raise ValueError(
            f"vocab_size={settings.vocab_size} has no room: kind={settings.kind} needs more than "
            f"{settings.least_vocab_size} for special tokens and bytes; set vocab_size=4096 or more"
        )
    texts = sample(pieces(documents), settings.sample_bytes)
    if not texts:
        raise ValueError("no text to learn a tokenizer from: the corpus is empty; give it documents")
    engine = settings.learn(texts)
    reached = engine.get_vocab_size()
    if reached < settings.vocab_size and not isinstance(settings, Words | Characters):
        raise ValueError(
            f"the text fills only {reached} of {settings.vocab_size} entries; "
            f"set vocab_size={reached} or give more text"
        )
    mark_special(engine)
    if isinstance(settings, Words):
        roles = Roles(ROLES.bos, ROLES.eos, ROLES.pad, unk=settings.unknown)
        segmenter = {"segmenter": settings.cut, "segmenter_check": word_codec.segmenter_check(settings.cut)}
        return Tokenizer(engine.to_str(), roles, segmenter)
    return Tokenizer(engine.to_str(), ROLES)
