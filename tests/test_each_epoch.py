"""Documents changed anew in every epoch: other texts each time, the same texts again, nothing left behind."""

import numpy as np
import pytest

from conftest import TINY
from rootlm.core.config import Override
from rootlm.data.windows import PADDING
from rootlm.runs.fitting import train
from rootlm.runs.prepared import prepare, running
from rootlm.runs.recipe import read_recipe
from rootlm.text.augmentation.augment import Dropout, Swap
from rootlm.text.augmentation.each_epoch import EachEpoch
from rootlm.text.document import Document

CHANGE = {"kinds": [{"kind": "dropout", "rate": 0.3}, {"kind": "swap"}]}


@pytest.fixture
def tiny(tmp_path, corpus):
    file = tmp_path / "tiny.yaml"
    file.write_text(f"corpus: {corpus}\n{TINY}")

    def recipe(name, **settings):
        own = [Override(key.replace("__", "."), value) for key, value in settings.items()]
        return read_recipe(str(file), [Override("out", str(tmp_path / name)), *own])

    return recipe


def epoch_of(feed, number):
    """Return every token asked for in an epoch, and its documents."""
    (source,) = feed.sources
    rows = [source.window(number * source.per_epoch + place) for place in range(source.per_epoch)]
    targets, documents = (np.concatenate([row[part] for row in rows]) for part in (1, 3))
    return targets[targets != PADDING], documents[documents != PADDING]


def test_a_document_follows_from_its_text_and_the_epoch():
    renew = EachEpoch(kinds=(Dropout(rate=0.3), Swap())).build()
    one, other = (Document(" ".join(f"word{n}" for n in range(start, start + 40)), "x") for start in (0, 99))
    first, second = list(renew([one, other], 0)), list(renew([one, other], 1))
    assert first == list(renew([one, other], 0))
    assert first != second
    assert list(renew([other, one], 1)) == second[::-1]
    assert all(document.text != one.text for document in (first[0], second[0]))


def test_every_epoch_reads_other_words_of_the_same_documents(tiny, tmp_path, corpus):
    recipe = tiny("run", augment=CHANGE)
    with running(recipe) as (place, workers):
        prepared = prepare(recipe, tmp_path / "run", place, workers)
        feed, again = prepared.feed(), prepared.feed()
        plain = prepare(
            tiny("plain", tokenizer=str(tmp_path / "run" / "tokenizer")), tmp_path / "plain", place, workers
        )
        whole, _ = epoch_of(plain.feed(), 0)
        epochs = [epoch_of(feed, number) for number in range(3)]
        for number in (2, 0, 1):
            for found, expected in zip(epoch_of(again, number), epochs[number], strict=True):
                assert np.array_equal(found, expected)
        assert not np.array_equal(epochs[0][0], epochs[1][0])
        for targets, documents in epochs:
            # Words are left out, none are added: all documents are there, and shorter.
            assert 0.5 * len(whole) < len(targets) < len(whole)
            assert (
                len(np.unique(documents))
                == prepared.material.store(prepared.material.corpora[0], "train").documents
            )
        del feed, again
    assert not list((corpus / "tokens").glob("epochs-*"))


def test_resuming_gives_the_same_bits(tiny, tmp_path):
    from rootlm.models.catalog import read_weights

    changed = {"augment": CHANGE, "training__max_steps": 60, "training__save_steps": 20}
    whole = train(tiny("whole", **changed), lambda text: None)
    paused = tiny("paused", **changed)
    train(paused, lambda text: None, 0.7)
    halted = train(paused, lambda text: None)
    one, other = (
        read_weights(run / "checkpoints" / "step-60" / "model.safetensors") for run in (whole, halted)
    )
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": {"kind": "ngram"}}, "reads the text once"),
        ({"augment": {"kinds": [{"kind": "embedding"}]}}, "kind embedding needs neighbours"),
    ],
)
def test_what_cannot_be_changed_is_said(tiny, settings, problem):
    with pytest.raises(ValueError, match=problem):
        train(tiny("run", **{"augment": CHANGE, **settings}), lambda text: None)
