"""The laws of data: every token once, resumable at any step, shards that partition, weights that hold."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from members import build
from rootlm.data.store import Store, open_or_build
from rootlm.data.store import build as build_store
from rootlm.data.windows import PADDING, Loader, Marks, Streams, WindowSource
from rootlm.models.interface import Targets
from rootlm.objectives.causal import CausalConfig
from rootlm.text.document import Document
from toys import byte_tokenizer

MARKS = {"one mark": Marks(0, 0), "begin and end differ": Marks(48, 49)}


@dataclass
class Held:
    """Documents in memory; every token of all of them is another number, so that a lost one is seen."""

    ids: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, sizes):
        offsets = np.cumsum([0, *sizes], dtype=np.int64)
        return cls(np.arange(1, offsets[-1] + 1, dtype=np.uint32), offsets)


RANDOM = np.random.default_rng(7)
STORES = {
    "mixed": Held.of(RANDOM.integers(1, 40, 37).tolist()),
    "short": Held.of([1, 2, 1, 1, 3, 1]),
    "one long": Held.of([301]),
    "empty among them": Held.of([0, 5, 0, 0, 17, 9, 0]),
    "fills the windows": Held.of([15, 15, 31]),
}


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param]


@pytest.fixture(params=MARKS)
def marks(request):
    return MARKS[request.param]


def an_epoch(source, number=0):
    first = number * source.per_epoch
    rows = [source.window(first + n) for n in range(source.per_epoch)]
    return [np.stack(parts) for parts in zip(*rows, strict=True)][:4]


@pytest.mark.parametrize("context", [2, 16, 64])
@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_reads_and_predicts_every_token_once(store, marks, context, seed):
    source = WindowSource(store, marks, context, seed)
    for number in range(2):
        tokens, targets, _, documents = an_epoch(source, number)
        real = documents != PADDING
        assert ((targets == PADDING) == ~real).all()
        count = len(store.offsets) - 1
        ends, begins = sorted([*store.ids.tolist(), *[marks.eos_id] * count]), [marks.bos_id] * count
        assert sorted(targets[real].tolist()) == ends
        assert sorted(tokens[real].tolist()) == sorted([*store.ids.tolist(), *begins])


def test_a_document_is_read_after_its_mark_and_predicts_what_follows(store, marks):
    source = WindowSource(store, marks, 1 << 12, None)
    tokens, targets, segments, documents, _ = source.window(0)
    for number in range(len(store.offsets) - 1):
        ids = store.ids[store.offsets[number] : store.offsets[number + 1]].tolist()
        place = documents == number
        assert tokens[place].tolist() == [marks.bos_id, *ids]
        assert targets[place].tolist() == [*ids, marks.eos_id]
        assert len(set(segments[place].tolist())) == 1


def test_a_segment_is_a_document_and_labels_never_fall(store, marks):
    _, _, segments, documents = an_epoch(WindowSource(store, marks, 16, 3))
    same = segments[:, 1:] == segments[:, :-1]
    real = documents[:, 1:] != PADDING
    assert (same == (documents[:, 1:] == documents[:, :-1]))[real].all()
    assert (np.diff(segments, axis=1) >= 0).all()


def test_padding_is_a_segment_of_its_own_without_weight():
    source = WindowSource(STORES["short"], MARKS["one mark"], 64, 3)
    windows = Loader([source], [1.0], 1).step(0)
    batch = CausalConfig().build().prepare(windows, torch.Generator())
    padded = windows.documents == PADDING
    assert padded.any()
    assert (batch.weights.numpy() == ~padded).all()
    assert not set(windows.segments[padded]) & set(windows.segments[~padded])


def test_epochs_are_shuffled_anew_and_the_parts_of_a_document_stand_apart():
    source = WindowSource(STORES["one long"], MARKS["one mark"], 16, 3)
    first, second = (an_epoch(source, number)[0][:, 1].tolist() for number in range(2))
    assert first != second
    assert sorted(first) == sorted(second)
    assert first != sorted(first)
    whole = WindowSource(STORES["mixed"], MARKS["one mark"], 1 << 12, 3)
    orders = [list(dict.fromkeys(whole.window(number)[3].tolist())) for number in range(2)]
    assert orders[0] != orders[1]
    assert all(order != sorted(order) for order in orders)
    still = WindowSource(STORES["one long"], MARKS["one mark"], 16, None)
    assert an_epoch(still)[0][:, 1].tolist() == sorted(first)


def mixture(seed=5, rows=6, weights=(3.0, 1.0, 0.5)):
    sources = [WindowSource(STORES[name], Marks(0, 0), 16, seed) for name in ("mixed", "short", "one long")]
    return Loader(sources, weights, rows, seed)


def single(seed=5, rows=6):
    return Loader([WindowSource(STORES["mixed"], Marks(0, 0), 16, seed)], [1.0], rows, seed)


@pytest.mark.parametrize("make", [single, mixture])
def test_resuming_gives_the_very_next_batch(make):
    walked = make()
    steps = [walked.step(number) for number in range(200)]
    for number in (0, 1, 17, 63, 199):
        for one, other in zip(make().step(number), steps[number], strict=True):
            assert np.array_equal(one, other)


def test_any_step_takes_the_same_time():
    """A step far away touches its own rows only: no more windows are laid than there are rows."""
    loader, laid = mixture(), []
    for source in loader.sources:
        source.window = lambda number, window=source.window: laid.append(number) or window(number)
    loader.step(1_000_000_007)
    assert len(laid) == loader.rows


@pytest.mark.parametrize("make", [single, mixture])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shards_partition_a_step(make, workers):
    loader = make()
    for number in range(20):
        whole = loader.step(number)
        shares = [loader.step(number, rank, workers) for rank in range(workers)]
        for part, expected in enumerate(whole):
            assert np.array_equal(np.concatenate([share[part] for share in shares]), expected)
        assert {len(share.tokens) for share in shares} == {loader.rows // workers}


def test_a_mixture_keeps_its_weights_and_reads_each_part_in_whole_epochs():
    loader = mixture(rows=10)
    asked = [[] for _ in loader.sources]
    for number, source in enumerate(loader.sources):
        source.window = lambda place, window=source.window, own=asked[number]: (
            own.append(place) or window(place)
        )
    for number in range(loader.PATTERN // 10):
        loader.step(number)
    assert [len(own) for own in asked] == [667, 222, 111]
    assert all(own == list(range(len(own))) for own in asked)


def test_a_mixture_is_even_within_a_few_hundred_rows():
    loader = mixture(rows=10)
    counts = np.bincount(loader._pattern[:300], minlength=3) / 300
    assert np.abs(counts - [3 / 4.5, 1 / 4.5, 0.5 / 4.5]).max() < 0.06


def test_steps_per_epoch_show_every_part_at_least_once():
    loader = mixture(rows=10)
    seen = [set() for _ in loader.sources]
    for number, source in enumerate(loader.sources):
        source.window = lambda place, window=source.window, own=seen[number]: own.add(place) or window(place)
    for number in range(round(loader.steps_per_epoch * 1.2)):
        loader.step(number)
    assert all(set(range(s.per_epoch)) <= own for s, own in zip(loader.sources, seen, strict=True))


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "window", "alibi"])
def test_a_packed_loss_equals_the_separate_losses(name, marks):
    sizes = [5, 1, 11, 3, 20, 2, 9]
    store = Held.of(sizes)
    store.ids = np.random.default_rng(1).integers(1, 40, sum(sizes)).astype(np.uint32)
    model, objective = build(name), CausalConfig().build()
    loader = Loader([WindowSource(store, marks, 48, 3)], [1.0], 2)
    with torch.no_grad():
        batch = objective.prepare(loader.step(0), torch.Generator())
        # Windows cut a document where they end; a window's share of it begins afresh there.
        windows = loader.step(0)
        separate = torch.zeros(())
        for row in range(2):
            for segment in sorted(set(windows.segments[row])):
                place = (windows.segments[row] == segment) & (windows.targets[row] != PADDING)
                if place.any():
                    tokens, targets = (torch.from_numpy(part[row][place])[None] for part in windows[:2])
                    separate += model(tokens, ask=Targets(targets)).values.sum()
        packed = objective.loss(model, batch)["loss"].total.sum()
    torch.testing.assert_close(packed, separate, rtol=1e-4, atol=1e-4)


def test_an_empty_store_is_refused():
    with pytest.raises(ValueError, match="empty: there is nothing to train on"):
        WindowSource(Held.of([]), Marks(0, 0), 16, 0)


def test_parts_of_a_mixture_need_positive_weights_and_one_length():
    sources = [WindowSource(STORES["mixed"], Marks(0, 0), size, 0) for size in (16, 32)]
    with pytest.raises(ValueError, match="one length"):
        Loader(sources, [1, 1], 4)
    with pytest.raises(ValueError, match="positive"):
        Loader(sources[:1], [0.0], 4)


TEXTS = ["床前明月光", "", "To be, or not to be.", "a\n\nb 𝒳 é", "x" * 500]


@pytest.fixture
def documents():
    return [Document(text, "test") for text in TEXTS]


def test_a_store_gives_back_every_document(documents, tmp_path):
    tokenizer = byte_tokenizer()
    store = build_store(tmp_path / "ids", documents, tokenizer, corpus="c", split="train")
    assert [tokenizer.decode(store[number].tolist()) for number in range(len(store))] == TEXTS
    assert store.document_bytes.tolist() == [len(text.encode()) for text in TEXTS]
    assert store.lost_bytes.sum() == 0
    assert (store.documents, store.tokens, store.ids.dtype) == (
        5,
        sum(map(len, map(str.encode, TEXTS))),
        np.uint16,
    )


def test_a_store_is_made_once_and_again_for_another_corpus(documents, tmp_path):
    def make(texts, tokenizer, corpus):
        return open_or_build(tmp_path / "ids", texts, tokenizer, corpus=corpus, split="train")

    def fail():
        raise AssertionError("read the corpus again")
        yield

    make(documents, byte_tokenizer(), "one")
    assert len(make(fail(), byte_tokenizer(), "one")) == 5
    assert len(make(documents[:2], byte_tokenizer(), "two")) == 2


@pytest.mark.parametrize("name", ["ids.bin", "offsets.bin", "bytes.bin", "lost.bin"])
def test_a_torn_store_names_its_file(documents, tmp_path, name):
    folder = tmp_path / "ids"
    build_store(folder, documents, byte_tokenizer(), corpus="c", split="train")
    file = folder / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=rf"{name}: has \d+ bytes, expected \d+; the store is torn"):
        Store.open(folder)
    file.unlink()
    with pytest.raises(ValueError, match=f"{name}: is missing"):
        Store.open(folder)


def test_an_edited_store_is_named_when_verified(documents, tmp_path):
    folder = tmp_path / "ids"
    build_store(folder, documents, byte_tokenizer(), corpus="c", split="train")
    content = bytearray((folder / "ids.bin").read_bytes())
    content[3] ^= 1
    (folder / "ids.bin").write_bytes(content)
    Store.open(folder)
    with pytest.raises(ValueError, match=r"ids\.bin: checksum differs"):
        Store.open(folder, verify=True)


def test_a_store_of_another_tokenizer_is_refused(documents, tmp_path):
    from toys import lowercase_tokenizer

    folder = tmp_path / "ids"
    build_store(folder, documents, byte_tokenizer(), corpus="c", split="train")
    with pytest.raises(ValueError, match="the tokenizer does not match the store"):
        Store.open(folder, lowercase_tokenizer())


def test_a_failed_build_leaves_no_store(documents, tmp_path):
    def broken():
        yield from documents
        raise ValueError("the corpus ends in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        build_store(tmp_path / "ids", broken(), byte_tokenizer(), corpus="c", split="train")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [1, 3, 6, 40])
@pytest.mark.parametrize("seed", [None, 5])
def test_rows_that_read_on_show_every_token_once_an_epoch(store, rows, seed):
    streams = Streams(WindowSource(store, Marks(0, 0), 16, seed, in_order=True), rows)
    for epoch in range(2):
        steps = [streams.step(epoch * streams.steps + number) for number in range(streams.steps)]
        targets = np.concatenate([windows.targets for windows in steps], 1)
        real = np.concatenate([windows.documents for windows in steps], 1) != PADDING
        assert (real == (targets != PADDING)).all()
        ends = [0] * (len(store.offsets) - 1)
        assert sorted(targets[real].tolist()) == sorted([*store.ids.tolist(), *ends])


def test_rows_read_on_within_their_segments_and_begin_an_epoch_anew():
    source = WindowSource(STORES["one long"], Marks(0, 0), 16, 5, in_order=True)
    streams = Streams(source, 4)
    one, other = streams.step(0), streams.step(1)
    for row in range(4):
        if other.documents[row, 0] != PADDING:
            assert other.tokens[row, 0] == one.targets[row, -1]
            assert other.segments[row, 0] == one.segments[row, -1]
    epochs = [range(epoch * streams.steps, (epoch + 1) * streams.steps) for epoch in range(3)]
    labels = [
        {label for s in epoch for label in streams.step(s).segments.ravel().tolist()} for epoch in epochs
    ]
    assert not labels[0] & labels[1] and not labels[1] & labels[2]


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_the_rows_that_read_on(workers):
    streams = Streams(WindowSource(STORES["mixed"], Marks(0, 0), 16, 5, in_order=True), 7)
    whole = streams.step(3)
    shares = [streams.step(3, rank, workers) for rank in range(workers)]
    for part, together in zip(zip(*shares, strict=True), whole, strict=True):
        assert np.array_equal(np.concatenate(part), together)
