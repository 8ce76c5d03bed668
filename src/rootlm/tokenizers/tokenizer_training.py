"""From texts to a tokenizer: draw a bounded sample, learn by the chosen kind, check what was reached."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field

from rootlm.tokenizers import word_codec
from rootlm.tokenizers.byte_pieces import BytePairs, WordPieces
from rootlm.tokenizers.character_pieces import Characters
from rootlm.tokenizers.plain_text import not_text
from rootlm.tokenizers.special_tokens import ROLES, mark_special
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
_PIECE_CHARACTERS = 65_536


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
    texts = sample(documents, settings.sample_bytes)
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
        roles = Roles(ROLES.bos, ROLES.eos, ROLES.pad, unk=word_codec.UNKNOWN)
        segmenter = {"segmenter": word_codec.SEGMENTER, "segmenter_check": word_codec.segmenter_check()}
        return Tokenizer(engine, roles, segmenter)
    return Tokenizer(engine, ROLES)


def sample(documents: Iterable[str], limit_bytes: int) -> list[str]:
    """Return the documents, or when they are larger than `limit_bytes`, an even draw from them, in order.

    Documents are cut at line ends into pieces first, so that one huge document is drawn from too. A piece is
    kept when the hash of its place and text is among the smallest: the draw needs no count of the corpus.
    """
    kept: list[tuple[int, int, str, int]] = []
    kept_bytes = 0
    for place, piece in enumerate(_pieces(documents)):
        try:
            content = piece.encode()
        except UnicodeEncodeError as error:
            raise not_text([piece]) from error
        digest = hashlib.blake2b(content, digest_size=8, salt=place.to_bytes(8, "little")).digest()
        heapq.heappush(kept, (-int.from_bytes(digest, "little"), place, piece, len(content)))
        kept_bytes += len(content)
        while kept_bytes > limit_bytes and len(kept) > 1:
            kept_bytes -= heapq.heappop(kept)[3]
    return [piece for _, _, piece, _ in sorted(kept, key=lambda entry: entry[1])]


def _pieces(documents: Iterable[str]) -> Iterator[str]:
    for document in documents:
        start = 0
        while start < len(document):
            end = start + _PIECE_CHARACTERS
            if end < len(document):
                end = (document.rfind("\n", start, end) + 1) or end
            yield document[start:end]
            start = end
