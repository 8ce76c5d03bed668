"""A run as a folder of CTranslate2's, let out only when it scores and answers as the run does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootlm.core.files import new_folder
from rootlm.models.catalog import read_saved, read_tensors
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.models.foreign import ctranslate2_spec
from rootlm.models.foreign.ctranslate2_spec import Words
from rootlm.models.interface import Source, SourceModel
from rootlm.runs.export_card import Told, write_card
from rootlm.runs.exported import merged_side
from rootlm.runs.imported import check_empty, named
from rootlm.runs.pair_files import copy_pair, pair_of
from rootlm.runs.parity_texts import TEXTS
from rootlm.runs.run import Run
from rootlm.runs.verified import TOLERANCE
from rootlm.tokenizers.tokenizer import Tokenizer

_ANSWERED = 24
"""How many tokens of each greedy answer are compared."""


@dataclass(frozen=True)
class Scored:
    """What was compared, and how much it differed."""

    texts: int
    largest: float
    """The largest difference of two tokens' log-probabilities."""
    deviation: float
    """Their standard deviation."""
    ties: int
    """Answers that part where two tokens are as likely, within what is allowed."""
    unlike: str | None
    """The first answer that differs otherwise."""

    @property
    def allowed(self) -> float:
        """The largest difference that is allowed."""
        return TOLERANCE * max(1.0, self.deviation)

    @property
    def agrees(self) -> bool:
        """Whether the two are one model."""
        return self.unlike is None and self.largest <= self.allowed

    @property
    def sentence(self) -> str:
        """What a person wants to know."""
        if self.unlike is not None:
            return self.unlike
        said = "differ by at most" if self.agrees else "differ by"
        tied = f", but for {self.ties} at a tie" if self.ties else ""
        return (
            f"log-probabilities of {self.texts} texts {said} {self.largest:.1e}, {self.allowed:.1e} is allowed; their "
            f"greedy answers are the same{tied} (rootlm beside ctranslate2 {version('ctranslate2')})"
        )


def export_ctranslate2(run: Path, out: Path, *, say: Callable[[str], None] = print) -> Scored:
    """Write a folder with the model, its tokenizers' files and a card, and open it again.

    Raises ValueError for a network that CTranslate2 cannot compute, where the library is not installed, and when the
    export does not say what the run says; nothing of it is then left.
    """
    check_empty(out)
    saved, tensors = read_saved(run), read_tensors(run)
    if not isinstance(saved.model, EncoderDecoderConfig):
        raise ValueError(
            f"{run}: model.kind={saved.model.kind} is no encoder–decoder of the kind that CTranslate2 computes; "
            "rootlm export --help says what else takes it"
        )
    ctranslate2_spec.library()
    side = merged_side(run, tensors, say=say)
    with new_folder(out) as partial, named(partial, out):
        ctranslate2_spec.write(partial, saved.model, tensors, words_of(side.run))
        say(f"{out}: written; opening it again")
        found = compare(side.run, partial)
        if not found.agrees:
            raise ValueError(
                f"{out}: the export does not say what the run says, so it was removed: {found.sentence}"
            )
        side.run.tokenizer.save(partial / "tokenizer")
        if side.run.source_tokenizer is not None:
            side.run.source_tokenizer.save(partial / "source_tokenizer")
        pair = pair_of(run)
        if pair is not None:
            copy_pair(pair, partial)
        write_card(partial, run, out.resolve().name, _told(side.run, out, found))
    return found


def words_of(run: Run) -> Words:
    """Return the tokens of a run's tables by id; an id without a token gets a name that no token has."""
    tokenizer, model = run.tokenizer, run.language_model
    reader = run.source_tokenizer or tokenizer
    rows = getattr(model.config, "source_vocab_size", None) or model.vocab_size
    marked = tokenizer.pad_id if tokenizer.unk_id is None else tokenizer.unk_id
    names = _names(tokenizer, model.vocab_size)
    unknown = names[tokenizer.eos_id if marked is None else marked]
    return Words(_names(reader, rows), names, names[tokenizer.bos_id], names[tokenizer.eos_id], unknown)


def _names(tokenizer: Tokenizer, rows: int) -> list[str]:
    return [
        tokenizer.name_of(number) if tokenizer.knows(number) else f"<no token {number}>"
        for number in range(rows)
    ]


def compare(run: Run, folder: Path) -> Scored:
    """Compare the log-probabilities of texts as answers to themselves, and greedy answers."""
    opened = ctranslate2_spec.library().Translator(str(folder), compute_type="float32", intra_threads=1)
    words, model = words_of(run), run.language_model
    texts = [text for text in TEXTS if text.strip()]
    assert isinstance(model, SourceModel)
    read = [run.writer.asked(text) for text in texts]
    most = (model.context or 1024) - 2
    sources = [ids[: most + 2] for ids, _ in read]
    targets = [
        [*begun, *run.tokenizer.encode(text)][:most] for text, (_, begun) in zip(texts, read, strict=True)
    ]
    spelt = [[words.source[number] for number in ids] for ids in sources]
    said = [[words.target[number] for number in ids[1:]] for ids in targets]
    theirs = opened.score_batch(spelt, said, max_input_length=0)
    largest, values = 0.0, []
    for source, target, other in zip(sources, targets, theirs, strict=True):
        logprobs = _logprobs(model, source, target)
        wanted = torch.tensor([*target[1:], run.tokenizer.eos_id])
        own = logprobs.gather(-1, wanted[:, None])[:, 0]
        values.append(own)
        difference = float((own - torch.tensor(other.log_probs)).abs().max())
        largest = difference if math.isnan(difference) else max(largest, difference)
    found = Scored(len(texts), largest, float(torch.cat(values).std()), 0, None)
    return found if not found.agrees else _answers(run, opened, (texts, spelt), found)


@torch.inference_mode()
def _logprobs(model: SourceModel, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """Return ln p of every token after each of a target, (time, vocabulary)."""
    values = model(torch.tensor([list(target)]), source=Source(torch.tensor([list(source)]))).values
    found: Tensor = values[0].float().log_softmax(-1)
    return found


def _answers(run: Run, opened: Any, asked: tuple[Sequence[str], list[list[str]]], found: Scored) -> Scored:
    """Compare greedy answers; none may end before its time, and none is ended for its length."""
    texts, spelt = asked
    words, writer = words_of(run), run.writer
    model = writer.model
    assert isinstance(model, SourceModel)
    if writer.answering is not None:
        writer = replace(writer, answering=replace(writer.answering, last=None, least=0))
    greedy = run.sampling.changed(
        {"temperature": 0, "num_beams": 1, "n": 1, "max_new_tokens": _ANSWERED, "reverse_weight": 0}
        | {"repetition_penalty": 1, "no_repeat_ngram_size": 0, "coverage_penalty": 0, "speculate": None}
    )
    banned = sorted(writer.vocabulary.banned_ids - {run.tokenizer.eos_id})
    begun = writer.asked("")[1]
    own = [one[0] for one in writer.answer(texts, greedy)]
    theirs = opened.translate_batch(
        spelt,
        target_prefix=[[words.target[number] for number in begun[1:]]] * len(spelt) if begun[1:] else None,
        beam_size=1,
        max_input_length=0,
        max_decoding_length=_ANSWERED,
        min_decoding_length=0,
        suppress_sequences=[[words.target[number]] for number in banned] or None,
    )
    ids = {name: number for number, name in enumerate(words.target)}
    ties = 0
    for text, one, other in zip(texts, own, theirs, strict=True):
        first = [token for token in one.tokens if token not in writer.vocabulary.end_ids]
        second = [ids[name] for name in other.hypotheses[0]][len(begun) - 1 :]
        place = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
        if place is None and len(first) == len(second):
            continue
        place = min(len(first), len(second)) if place is None else place
        ended = run.tokenizer.eos_id
        pair = [tokens[place] if place < len(tokens) else ended for tokens in (first, second)]
        source, _ = writer.asked(text)
        after = _logprobs(model, source, [*begun, *first[:place]])[-1]
        if abs(float(after[pair[0]] - after[pair[1]])) > 2 * found.allowed:
            shown = [words.target[number] for number in pair]
            said = f"the greedy answers to {text!r} differ from token {place + 1} on: {shown[0]!r} beside {shown[1]!r}"
            return replace(found, unlike=said)
        ties += 1
    return replace(found, ties=ties)


def _told(run: Run, out: Path, found: Scored) -> Told:
    source, begun = run.writer.asked("…")
    words = words_of(run)
    marks = " ".join(f"`{words.source[number]}`" for number in source[-1:])
    forced = "".join(
        f" Answers begin with `{words.target[number]}`: give it as target_prefix." for number in begun[1:]
    )
    name = out.resolve().name
    return Told(
        "ctranslate2",
        f"An encoder–decoder with {run.model.n_parameters():,} parameters in float32, written by rootlm. Sources end "
        f"with {marks}.{forced} `compute_type` makes int8 of it when it is opened.",
        (
            "import ctranslate2, tokenizers",
            f'translator = ctranslate2.Translator("{name}", compute_type="int8")',
            f'tokenizer = tokenizers.Tokenizer.from_file("{name}/tokenizer/tokenizer.json")',
        ),
        f"Before this folder was let out it was opened again: {found.sentence}.",
        task="text2text-generation",
    )
