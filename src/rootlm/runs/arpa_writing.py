"""N-gram models as ARPA files: out of a run with its tokenizer's words, or straight from a text of spaced words."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rootlm.models.arpa_writer import BEGIN, END, UNKNOWN, write_arpa, write_tables
from rootlm.models.ngram_settings import NgramConfig
from rootlm.models.ngram_tables import Tables
from rootlm.tokenizers.spaced_words import read_spaced
from rootlm.training.ngram_fitting import learn

if TYPE_CHECKING:
    from rootlm.runs.run import Run
    from rootlm.tokenizers.tokenizer import Tokenizer

_SHOWN = {" ": "▁", "\n": "␊", "\r": "␍", "\t": "␉"}


def export_arpa(run: Run, path: Path) -> NDArray[np.int64]:
    """Write a run's n-gram model as ARPA; returns how many n-grams of each order.

    Raises ValueError for a run of another kind.
    """
    from rootlm.models.ngram import Ngram

    if not isinstance(run.model, Ngram):
        raise ValueError(
            f"{run.folder}: holds a {run.model.config.kind}, and ARPA holds n-grams; name a run of model.kind=ngram"
        )
    write_arpa(run.model, arpa_words(run.tokenizer), path)
    return run.model.tables.sizes


def arpa_words(tokenizer: Tokenizer) -> list[str]:
    """Return a name without white space for every id: the marks as `<s>` and `</s>`, a space shown as `▁`.

    What is called as another id already is gets its id behind it.
    """
    names = [_shown(tokenizer.token_text(number)) for number in range(tokenizer.vocab_size)]
    marks = {tokenizer.bos_id: BEGIN, tokenizer.eos_id: END}
    taken = Counter([*names, *marks.values()])
    return [
        marks.get(number) or (name if name and taken[name] == 1 else f"{name}#{number}")
        for number, name in enumerate(names)
    ]


def _shown(text: str) -> str:
    return "".join(
        _SHOWN.get(letter, "␣" if letter.isspace() or ord(letter) < 33 else letter) for letter in text
    )


def arpa_of_text(
    text: Path, path: Path, config: NgramConfig, say: Callable[[str], None] = warnings.warn
) -> Tables:
    """Count a text of one sentence a line, words between spaces, and write its model as ARPA; returns the tables.

    `<unk>` in the text is an ordinary word. Raises ValueError naming file and line for a text that holds marks.
    """
    try:
        spaced = read_spaced(text.read_bytes())
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    except OSError as error:
        raise ValueError(f"{text}: cannot be read ({error.strerror}); name a text file") from error
    words, pieces = spaced.words, [(spaced.ids, spaced.offsets)]
    # Counting takes the ids over, so that their memory is free again when they are counted.
    del spaced
    marks = (words.index(BEGIN.encode()), words.index(END.encode()))
    assert words[2] == UNKNOWN.encode()
    tables = learn(config, (pieces.pop() for _ in range(1)), len(words), marks, say)
    write_tables(tables, words, path)
    return tables
