"""Laws of duplicates and splits: copies are found, a cluster stays together, a place follows from content."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rootlm.core.config import validate
from rootlm.text.copies.duplicates import Duplicates, Groups, find
from rootlm.text.pipeline.leaf import Leaf, write_leaf
from rootlm.text.pipeline.pool import Local
from rootlm.text.raw.faults import Faults
from rootlm.text.signature import digest, shingles, signatures
from rootlm.text.split import Split, assign
from rootlm.text.tally import Tally
from rootlm.text.treatment import RECORD, Treated

SETTINGS = Duplicates()
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
WORDS = ["".join(random.Random(number).choices("etaoinshrdlu", k=3 + number % 7)) for number in range(2000)]


def chinese(generator: random.Random, length: int) -> str:
    return "".join(generator.choices(HAN, k=length))


def english(generator: random.Random, length: int) -> str:
    return " ".join(generator.choices(WORDS, k=length // 6))


def noisy(text: str, generator: random.Random, share: float = 0.01) -> str:
    letters = list(text)
    for place in generator.sample(range(len(letters)), max(int(len(letters) * share), 1)):
        letters[place] = generator.choice("xyz") if letters[place] < "\u3000" else generator.choice(HAN)
    return "".join(letters)


def group(
    folder: Path,
    texts: Sequence[str],
    settings: Duplicates = SETTINGS,
    *,
    memory: int = 1 << 20,
    rows: NDArray[np.uint32] | None = None,
) -> Groups:
    """Group texts that lie in leaves of a hundred; `rows` are signatures that are not their own."""
    leaves = []
    for start in range(0, len(texts), 100):
        part = texts[start : start + 100]
        records = np.zeros(len(part), dtype=RECORD)
        records["digest"] = np.frombuffer(b"".join(map(digest, part)), dtype="<u8").reshape(-1, 2)
        held = signatures(part, settings.hashes) if rows is None else rows[start : start + 100]
        treated = Treated(b"", records, ["en"], [""], held, Tally())
        leaves.append(Leaf(folder / "leaves" / str(len(leaves))))
        write_leaf(leaves[-1].folder, [treated], Faults("stop"), [], settings)
    with Local(1) as engine:
        groups = find(leaves, settings, engine, folder, memory)
    shutil.rmtree(folder / "leaves", ignore_errors=True)
    return groups


def test_less_memory_finds_the_same(tmp_path: Path) -> None:
    generator = random.Random(4)
    originals = [chinese(generator, generator.randint(60, 300)) for _ in range(250)]
    texts = [*originals, *(noisy(text, generator) for text in originals[:80]), *originals[80:90]]
    plenty, little = (group(tmp_path, texts, memory=memory) for memory in (1 << 20, 3000))
    assert (plenty.cluster[250:330] == np.arange(80)).mean() > 0.9
    assert plenty.copy_of.tolist() == little.copy_of.tolist()
    assert plenty.cluster.tolist() == little.cluster.tolist()


@pytest.mark.parametrize("write", [chinese, english])
def test_noisy_copies_are_found_and_nothing_else(tmp_path: Path, write: object) -> None:
    generator = random.Random(1)
    originals = [write(generator, generator.randint(150, 1500)) for _ in range(600)]  # type: ignore[operator]
    copies = [noisy(text, generator) for text in originals[:300]]
    groups = group(tmp_path, [*originals, *copies])
    found = groups.cluster[600:] == np.arange(300)
    assert found.mean() >= 0.99
    assert (groups.cluster[:600] == np.arange(600)).all()


def test_a_poem_with_one_other_character_is_a_near_duplicate(tmp_path: Path) -> None:
    poems = [
        "床前看月光，疑是地上霜。举头望山月，低头思故乡。",
        "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    ]
    variant = "床前看月光，疑是地上霜。舉头望山月，低头思故乡。"
    assert group(tmp_path, [*poems, variant]).cluster.tolist() == [0, 1, 0]


def test_spaces_and_line_ends_make_no_difference_to_copies(tmp_path: Path) -> None:
    groups = group(
        tmp_path, ["一行诗，\n两行诗。", "别的文字在这里。", "一行诗，两行诗。 ", "一行诗！两行诗。"]
    )
    assert groups.copy_of.tolist() == [0, 1, 0, 3]
    assert groups.cluster.tolist() == [0, 1, 0, 0]


@given(
    st.lists(
        st.sampled_from(["!!!", "???", "a", "b", "ab", "", "月", "明月", "!!!", "abcde" * 5]), max_size=12
    )
)
@settings(deadline=None, max_examples=60)
def test_tiny_texts_are_duplicates_only_of_their_equals(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    groups = group(tmp_path_factory.mktemp("tiny"), texts)
    assert groups.cluster.tolist() == [texts.index(text) for text in texts]
    assert groups.copy_of.tolist() == groups.cluster.tolist()


def test_shingles_in_a_batch_equal_shingles_alone() -> None:
    generator = random.Random(3)
    texts = [write(generator, size) for write in (chinese, english) for size in (1, 2, 3, 4, 7, 60)] + [
        "",
        "?!",
        "a",
    ]
    flat, counts = shingles(texts)
    parts = np.split(flat, np.cumsum(counts)[:-1])
    for text, part in zip(texts, parts, strict=True):
        assert part.tolist() == shingles([text])[0].tolist()
        assert len(part) >= 1


def test_signatures_estimate_the_share_of_common_shingles() -> None:
    generator = random.Random(5)
    text = english(generator, 3000)
    for share in (0.005, 0.01, 0.03):
        other = noisy(text, generator, share)
        sets = [set(shingles([one])[0].tolist()) for one in (text, other)]
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        first, second = signatures([text, other], 1200)
        assert abs((first == second).mean() - exact) < 0.05


def test_a_chain_of_near_duplicates_is_one_cluster(tmp_path: Path) -> None:
    generator = random.Random(7)
    chain = [chinese(generator, 400)]
    for _ in range(12):
        chain.append(noisy(chain[-1], generator, 0.02))
    assert set(group(tmp_path, chain).cluster.tolist()) == {0}


def test_what_shares_a_band_with_a_stranger_is_still_compared_with_the_others(tmp_path: Path) -> None:
    """All agree in one band, but only the last two are alike: the first of a bucket must not hide them."""
    settings = Duplicates(bands=2, rows=2, threshold=0.75)
    rows = np.array([[1, 1, 5, 5], [1, 1, 6, 6], [1, 1, 7, 7], [1, 1, 7, 8]], dtype=np.uint32)
    assert group(tmp_path, list("abcd"), settings, rows=rows).cluster.tolist() == [0, 1, 2, 2]


def test_nothing_added_gives_no_groups(tmp_path: Path) -> None:
    assert len(group(tmp_path, []).cluster) == 0


def places(clusters: Sequence[int], split: Split, sources: Sequence[int] | None = None) -> list[int]:
    digests = np.frombuffer(b"".join(digest(str(number)) for number in range(len(clusters))), dtype=np.uint64)
    numbers = np.array(sources or [0] * len(clusters))
    return assign(digests.reshape(-1, 2), np.array(clusters), numbers, split).tolist()


@given(
    st.lists(st.integers(0, 30), min_size=40, max_size=200),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.01, 0.2]),
)
@settings(deadline=None)
def test_no_cluster_is_in_two_splits(clusters: list[int], seed: int, share: float) -> None:
    if len(set(clusters)) < 6:
        return
    found = places(clusters, Split(validation=share, test=share, seed=seed))
    assert len(set(zip(clusters, found, strict=True))) == len(set(clusters))
    assert set(found) == ({0, 1, 2} if share else {0})


def test_shares_are_kept() -> None:
    found = places(range(20_000), Split(validation=0.05, test=0.02))
    assert found.count(1) == pytest.approx(1000, rel=0.15)
    assert found.count(2) == pytest.approx(400, rel=0.2)


def test_a_place_does_not_depend_on_the_other_documents() -> None:
    split = Split(min_documents=0)
    assert places(range(4000), split) == places(range(9000), split)[:4000]


def test_a_small_source_is_held_out_too() -> None:
    found = places(range(5060), Split(), [0] * 5000 + [1] * 60)
    assert found[5000:].count(1) == found[5000:].count(2) == 3


@pytest.mark.parametrize("documents", [3, 5, 19, 20, 400])
def test_a_small_corpus_is_split_and_mostly_trains(documents: int) -> None:
    found = places(range(documents), Split())
    assert set(found) == {0, 1, 2}
    assert found.count(0) >= documents / 3


def test_a_seed_changes_the_split_and_the_same_seed_does_not() -> None:
    first, again, other = (places(range(3000), Split(seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("clusters", "name"), [([0], "validation"), ([0, 1], "test"), ([0] * 9, "validation")]
)
def test_an_empty_split_is_an_error_with_the_remedy(clusters: list[int], name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"the {name} split would be empty: .*read\.documents=paragraph.*split\.{name}=0"
    ):
        places(clusters, Split())
    assert places(clusters, Split(validation=0, test=0)) == [0] * len(clusters)


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="leave nothing to train on"):
        validate(Split, {"validation": 0.5, "test": 0.5})
