"""What is asked of word vectors equals what gensim answers; a planted rotation is found again; pictures are whole."""

import json
import math

import numpy as np
import pytest
from gensim.models import KeyedVectors
from scipy.stats import spearmanr

from rootlm.cli.main import run as command
from rootlm.core.word_map import Place, apart, map_places
from rootlm.evaluation.agreement import agreement, agreement_apart
from rootlm.evaluation.analogies import analogies, read_analogies
from rootlm.evaluation.word_similarity import word_similarity
from rootlm.evaluation.word_translation import held_out, precision
from rootlm.models.vector_alignment import Translations, align, crowding, known_pairs
from rootlm.models.vector_files import write_vectors
from rootlm.models.vector_map import principal, project
from rootlm.models.vector_queries import Queries, unit
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.vectors_picture import places_of, write_picture
from vectors import of_gensim, plain, with_subwords

SIMILARITY = ["wordsim353.tsv", "simlex999.txt"]
ANALOGIES = of_gensim("questions-words.txt")


@pytest.fixture(scope="module")
def vectors():
    """Words of the evaluation sets, some in two cases; those of an analogy lie so that some are solved."""
    questions = [question for section in read_analogies(ANALOGIES).values() for question in section[:60]]
    words = list(dict.fromkeys(word for question in questions for word in question))
    pairs = [
        line.split("\t")[:2] for name in SIMILARITY for line in of_gensim(name).read_text().splitlines()[2:]
    ]
    words = list(dict.fromkeys([*words, *(word for pair in pairs for word in pair)]))
    words = [*words[::2], "the", "THE", *[word.lower() for word in words[:1600:4]]]
    words = list(dict.fromkeys(words))
    generator = np.random.default_rng(2)
    letters = generator.normal(size=(65536, 30))
    matrix = np.array([letters[[ord(letter) for letter in word.lower()[:4]]].sum(0) for word in words])
    return WordVectors(words, (matrix + 0.5 * generator.normal(size=matrix.shape)).astype(np.float32))


@pytest.fixture(scope="module")
def theirs(vectors):
    held = KeyedVectors(vectors.size)
    held.add_vectors(list(vectors.words), vectors.matrix)
    return held


@pytest.fixture(scope="module")
def file(vectors, tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "words.vec"
    write_vectors(vectors, path)
    return path


def same(ours, gensim_s):
    assert [near.word for near in ours] == [word for word, _ in gensim_s]
    assert [near.nearness for near in ours] == pytest.approx([value for _, value in gensim_s], abs=1e-5)


def test_neighbours_are_gensim_s(vectors, theirs):
    words = list(vectors.words[:200])
    for word, nearest in zip(words, Queries(vectors).neighbours(words, 7), strict=True):
        same(nearest, theirs.most_similar(word, topn=7))


def test_analogies_are_gensim_s(vectors, theirs):
    queries, words = Queries(vectors), vectors.words
    for a, b, c in [words[n : n + 3] for n in range(0, 150, 3)]:
        same(queries.analogy(a, b, c, 5), theirs.most_similar([b, c], [a], topn=5))
        same(queries.analogy(a, b, c, 5, "multiply"), theirs.most_similar_cosmul([b, c], [a], topn=5))


def test_likeness_and_the_odd_one_are_gensim_s(vectors, theirs):
    queries, words = Queries(vectors), list(vectors.words)
    for n in range(0, 100, 5):
        assert queries.similarity(words[n], words[n + 1]) == pytest.approx(
            theirs.similarity(words[n], words[n + 1]), abs=1e-6
        )
        assert queries.doesnt_match(words[n : n + 5])[0].word == theirs.doesnt_match(words[n : n + 5])


def test_blocks_change_nothing(vectors, monkeypatch):
    from rootlm.models import vector_queries

    words = list(vectors.words[:50])
    whole = Queries(vectors).neighbours(words)
    monkeypatch.setattr(vector_queries, "_AT_ONCE", 3 * len(vectors))
    for one, other in zip(whole, Queries(vectors).neighbours(words), strict=True):
        same(one, other)


def test_unseen_words_are_asked_by_their_subwords():
    vectors = with_subwords()
    unseen = unit(vectors.vectors(["the-"]))
    (nearest,) = Queries(vectors).neighbours(["the-"], 3)
    cosines = unit(vectors.matrix) @ unseen[0]
    assert [near.word for near in nearest] == [vectors.words[place] for place in np.argsort(-cosines)[:3]]
    with pytest.raises(ValueError, match="too short for n-grams"):
        Queries(with_subwords(minimum=5, maximum=6)).neighbours(["ab"])


def test_a_word_of_zeros_is_near_to_nothing():
    vectors = WordVectors(["zero", "a", "b"], np.array([[0, 0], [1, 0], [0, 2]], np.float32))
    queries = Queries(vectors)
    assert [near.nearness for near in queries.neighbours(["zero"], 2)[0]] == [0, 0]
    assert queries.similarity("zero", "a") == 0
    assert all(math.isfinite(near.nearness) for near in queries.analogy("zero", "a", "b", method="multiply"))


def test_what_cannot_be_asked_is_said(vectors):
    queries = Queries(vectors)
    with pytest.raises(ValueError, match="did you mean"):
        queries.neighbours([vectors.words[0] + "x"])
    with pytest.raises(ValueError, match="ask for at least 1"):
        queries.neighbours([vectors.words[0]], 0)
    with pytest.raises(ValueError, match="no odd one"):
        queries.doesnt_match(list(vectors.words[:2]))
    assert len(queries.neighbours([vectors.words[0]], 10**6)[0]) == len(vectors) - 1


# Evaluation


@pytest.mark.parametrize("name", SIMILARITY)
def test_word_similarity_is_gensim_s(vectors, theirs, name):
    found = word_similarity(vectors, of_gensim(name))
    _, spearman, unknown = theirs.evaluate_word_pairs(str(of_gensim(name)))
    assert found.spearman.value == pytest.approx(spearman.statistic, abs=1e-6)
    assert 100 * found.unknown == pytest.approx(unknown)
    assert 0 < found.unknown < 1 and found.spearman.low < found.spearman.value < found.spearman.high


def test_analogies_by_section_are_gensim_s(vectors, theirs):
    found = analogies(vectors, ANALOGIES)
    score, sections = theirs.evaluate_word_analogies(str(ANALOGIES))
    for ours, other in zip((*found.sections, found.total), sections, strict=True):
        assert ours.right.sum() == len(other["correct"])
        assert ours.known == len(other["correct"]) + len(other["incorrect"])
    assert found.total.accuracy.value == pytest.approx(score) and found.total.right.sum() > 20
    assert found.total.questions == 19544


def test_the_words_of_a_question_are_no_answers_in_any_case(tmp_path):
    words = ["Athens", "Greece", "Oslo", "GREECE", "Norway"]
    matrix = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0.2], [1, 1, 0.1], [1, 0.9, 0.6]], np.float32)
    (tmp_path / "asked").write_text(": s\nathens greece oslo norway\n")
    (section,) = analogies(WordVectors(words, matrix), tmp_path / "asked").sections
    assert section.right.tolist() == [True]


def test_all_unknown_is_said_and_never_nan(vectors, tmp_path, capsys, file):
    (tmp_path / "pairs.tsv").write_text("word\tword\tscore\n龙\t凤\t7\n虎\t猫\t8\n", encoding="utf-8")
    (tmp_path / "asked.txt").write_text(": 动物\n龙 凤 虎 猫\n", encoding="utf-8")
    with pytest.raises(ValueError, match="0 of 2 pairs"):
        word_similarity(vectors, tmp_path / "pairs.tsv")
    with pytest.raises(ValueError, match="none of 1 questions"):
        analogies(vectors, tmp_path / "asked.txt")
    assert command(["vectors", "evaluate", str(file), f"analogies={tmp_path / 'asked.txt'}"]) == 2
    a, b = vectors.words[:2]
    (tmp_path / "asked.txt").write_text(f": 动物\n龙 凤 虎 猫\n: some\n{a} {b} {a} {b}\n", encoding="utf-8")
    asked = ["vectors", "evaluate", str(file), f"analogies={tmp_path / 'asked.txt'}"]
    assert command(asked) == 0 and "动物" in capsys.readouterr().out
    assert command([*asked, "json=true"]) == 0
    (rows,) = json.loads(capsys.readouterr().out)["analogies"].values()
    assert rows[0] == {"section": "动物", "accuracy": None, "interval": None, "known": 0, "questions": 1}


def test_a_wrong_line_of_an_evaluation_file_is_named(vectors, tmp_path):
    (tmp_path / "a").write_text("a\tb\t1\nc\td\n")
    with pytest.raises(ValueError, match=r"a:2: is not two words and a number"):
        word_similarity(vectors, tmp_path / "a")
    (tmp_path / "a").write_text(": s\na b c d\na b c\n")
    with pytest.raises(ValueError, match=r"a:3: has 3 words"):
        analogies(vectors, tmp_path / "a")
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="cannot be read"):
        analogies(vectors, tmp_path / "a")


def test_agreement_is_spearman_s_and_is_told_apart_on_the_same_pairs():
    generator = np.random.default_rng(0)
    said = generator.integers(0, 9, 300).astype(float)
    good, bad = said + generator.normal(size=300), said + 3 * generator.normal(size=300)
    assert agreement(good, said).value == pytest.approx(spearmanr(good, said).statistic)
    apart_by = agreement_apart(good, bad, said)
    assert apart_by.value == pytest.approx(agreement(good, said).value - agreement(bad, said).value)
    assert 0 < apart_by.low < apart_by.value < apart_by.high
    # Paired, it is surer than two intervals beside one another.
    assert agreement_apart(good, good, said).high == 0


# Alignment


def planted(seed=0, words=400, noise=0.0, size=20):
    """Return a space, the same turned and renamed, and the pairs."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(words, size))
    turn = np.linalg.qr(generator.normal(size=(size, size)))[0]
    other = matrix @ turn + noise * generator.normal(size=matrix.shape)
    names = [f"w{number}" for number in range(words)], [f"词{number}" for number in range(words)]
    one, two = (
        WordVectors(name, rows.astype(np.float32)) for name, rows in zip(names, (matrix, other), strict=True)
    )
    return one, two, list(zip(*names, strict=True))


def test_a_planted_rotation_is_found_again():
    first, second, pairs = planted()
    aligned = align(first, second, pairs[:40])
    assert aligned.matrix == pytest.approx(second.matrix, abs=1e-4)
    assert np.linalg.norm(aligned.matrix, axis=1) == pytest.approx(
        np.linalg.norm(first.matrix, axis=1), rel=1e-5
    )
    found = precision(aligned, second, pairs[40:])
    assert found.at_1.value == found.at_5.value == 1 and found.words == 360


def test_aligned_subwords_give_aligned_vectors():
    first = with_subwords()
    second = plain(size=7)
    aligned = align(first, second, [(word, word) for word in first.words])
    turn = np.linalg.lstsq(first.matrix, aligned.matrix, rcond=None)[0]
    assert aligned["unseen"] == pytest.approx(first["unseen"] @ turn, abs=1e-3)


def test_csls_is_its_formula():
    first, second, pairs = planted(noise=1.2)
    aligned = align(first, second, pairs[:200])
    rows = np.arange(200, 400)
    cosines = unit(aligned.matrix) @ unit(second.matrix).T
    hubs = -np.sort(-cosines, axis=0)[:10].mean(0)
    own = -np.sort(-cosines, axis=1)[:, :10].mean(1)
    assert crowding(unit(second.matrix), unit(aligned.matrix)) == pytest.approx(hubs, abs=1e-5)
    best = np.argmax(2 * cosines - own[:, None] - hubs, axis=1)
    assert (Translations(aligned, second, csls=True).of(rows, 1)[:, 0] == best[200:]).mean() > 0.99
    plainly, held = (precision(aligned, second, pairs[200:], csls=csls).at_1.value for csls in (False, True))
    assert 0 < plainly < 1 and held >= plainly


def test_alignment_says_what_does_not_fit(tmp_path, capsys):
    first, second, pairs = planted()
    with pytest.raises(ValueError, match="20 numbers, the second 7"):
        align(first, plain(size=7), pairs)
    with pytest.raises(ValueError, match="none of the 400 pairs"):
        align(first, second, [(other, one) for one, other in pairs])
    learned, tested = held_out([*pairs, *pairs], 0.2, 1)
    assert not {one for one, _ in learned} & {one for one, _ in tested} and len(tested) == 160
    assert len(known_pairs(first, second, [("w1", "词1"), ("x", "词1")])) == 1
    for name, held in (("a", first), ("b", second)):
        held.save(tmp_path / name)
    (tmp_path / "pairs").write_text("".join(f"{one}\t{other}\n" for one, other in pairs), encoding="utf-8")
    asked = ["vectors", "align", str(tmp_path / "a"), str(tmp_path / "b"), f"pairs={tmp_path / 'pairs'}"]
    assert command([*asked, f"out={tmp_path / 'c'}", "csls=true"]) == 0
    assert "precision@1 1.000" in capsys.readouterr().out
    assert WordVectors.load(tmp_path / "c").matrix == pytest.approx(second.matrix, abs=1e-4)
    (tmp_path / "pairs").write_text("a b\na\n")
    assert command(asked) == 2 and "pairs:2:" in capsys.readouterr().err


# Pictures


def test_principal_components_are_those_of_scikit_learn(vectors):
    from sklearn.decomposition import PCA

    ours, other = principal(vectors.matrix[:90]), PCA(2).fit_transform(vectors.matrix[:90])
    assert np.abs(ours) == pytest.approx(np.abs(other), abs=1e-3)
    assert project(vectors.matrix[:3]).shape == (3, 2)
    with pytest.raises(ValueError, match="make no picture"):
        project(vectors.matrix[:2])


def test_names_do_not_cover_one_another():
    generator = np.random.default_rng(0)
    places = [Place("城市" * (number % 4 + 1), *generator.normal(size=2)) for number in range(200)]
    points = map_places(places)
    shown = [(left, top, place.name) for (left, top), place, free in
             zip(points, places, apart(points, [place.name for place in places]), strict=True) if free]  # fmt: skip
    assert 10 < len(shown) < 200
    for number, (left, top, name) in enumerate(shown):
        for other, high, beside in shown[:number]:
            clear = left >= other + 8 + 14 * len(beside) or other >= left + 8 + 14 * len(name)
            assert clear or abs(top - high) >= 16


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_pictures_hold_chinese_words(tmp_path, method):
    words = [f"词{number}" for number in range(12)] + ["<b>", "$x$", "a&b"]
    vectors = plain(words, size=5)
    places = places_of(vectors, words, method)
    write_picture(places, method, "runs/中文", tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert 'lang="zh"' in page and ">词3<" in page and "&lt;b&gt;" in page and "a&amp;b" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    write_picture(places, method, "runs/中文", tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_glyphs_that_no_font_has_are_named(tmp_path):
    with pytest.raises(ValueError, match="no font of this machine can draw"):
        write_picture([Place("\U0010fffd", 0, 0), Place("b", 1, 1)], "pca", "x", tmp_path / "map.png")
    with pytest.raises(ValueError, match="ends in neither"):
        write_picture([Place("a", 0, 0)], "pca", "x", tmp_path / "map.svg")


def test_each_verb_answers(file, vectors, tmp_path, capsys):
    a, b, c = vectors.words[:3]
    for asked in (
        ["neighbours", str(file), a, b, "k=3"],
        ["analogy", str(file), a, b, c, "method=multiply"],
        ["similarity", str(file), a, b],
        ["doesnt-match", str(file), a, b, c],
        ["evaluate", str(file), f"similarity={of_gensim(SIMILARITY[0])}"],
        ["plot", str(file), f"out={tmp_path / 'a.html'}", "words=20"],
        ["plot", str(file), f"out={tmp_path / 'b.html'}", f"words=[{a},{b},{c}]"],
    ):
        assert command(["vectors", *asked]) == 0, capsys.readouterr().err
        assert "nan" not in capsys.readouterr().out.split()
