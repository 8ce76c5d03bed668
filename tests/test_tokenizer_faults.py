"""Mistakes of a person with a tokenizer: one line that names the place and the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models

from rootlm.cli.main import run
from rootlm.tokenizers import word_codec
from rootlm.tokenizers.byte_pieces import BytePairs
from rootlm.tokenizers.text_sample import pieces, sample
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import KINDS, train
from rootlm.tokenizers.words import Words

VERSE = ["床前明月光，疑是地上霜。\n举头望明月，低头思故乡。", "To be, or not to be, that is the question."]


def write(folder: Path, config: dict[str, Any] | None, names: tuple[str, ...] = ("<a>", "<b>")) -> Path:
    """A tokenizer of two letters with special tokens of the given names."""
    vocabulary = {token: number for number, token in enumerate((*names, "x", "y"))}
    engine = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    engine.add_special_tokens(list(names))
    folder.mkdir(exist_ok=True)
    engine.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("documents", [[], [""], iter(["", ""])])
def test_an_empty_corpus_is_named(documents: Any) -> None:
    with pytest.raises(ValueError, match="no text to learn a tokenizer from"):
        train(BytePairs(), documents)


@pytest.mark.parametrize(
    ("kind", "least"), [("bpe", 260), ("wordpiece", 516), ("character", 260), ("word", 6)]
)
def test_a_vocabulary_without_room_says_how_much_is_needed(kind: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"needs more than {least}"):
        train(KINDS[kind](vocab_size=least - 1), VERSE)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("times", [1, 40])
def test_a_text_that_cannot_fill_the_vocabulary_says_what_it_fills(kind: str, times: int) -> None:
    with pytest.raises(ValueError, match=r"fills only (\d+) of 9000 entries; set vocab_size=\1") as caught:
        train(KINDS[kind](vocab_size=9000), VERSE * times)
    reached = int(str(caught.value).split("vocab_size=")[1].split()[0])
    assert train(KINDS[kind](vocab_size=reached), VERSE * times).vocab_size == reached


@pytest.mark.parametrize("vocab_size", [262, 270, 300, 320, 330, 340])
def test_unigrams_fill_every_size_that_the_text_can_fill(vocab_size: int) -> None:
    text = [f"{verse}\n{verse[::-1]}" for verse in VERSE] * 3
    assert train(KINDS["unigram"](vocab_size=vocab_size), text).vocab_size == vocab_size


@pytest.mark.parametrize("kind", ["word", "character"])
def test_words_and_characters_stop_where_the_text_stops(kind: str) -> None:
    tokenizer = train(KINDS[kind](vocab_size=9000), VERSE)
    assert tokenizer.vocab_size < 320
    assert [tokenizer.decode(tokenizer.encode(text)) for text in VERSE] == VERSE


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_surrogate_is_named_with_its_place(kind: str) -> None:
    tokenizer = train(KINDS[kind](vocab_size=KINDS[kind]().least_vocab_size + 40), VERSE * 40)
    with pytest.raises(ValueError, match="text 0, character 1: a lone surrogate"):
        tokenizer.encode("a\ud800")
    with pytest.raises(ValueError, match="text 1, character 0: a lone surrogate"):
        tokenizer.encode_batch(["a", "\udfff"])
    with pytest.raises(ValueError, match="a lone surrogate"):
        train(KINDS[kind](), ["a\ud800"])


@pytest.mark.parametrize("wrong", [-1, 10_000])
def test_an_id_outside_the_vocabulary_is_named(wrong: int) -> None:
    tokenizer = train(BytePairs(vocab_size=280), VERSE)
    for use in (tokenizer.decode, lambda ids: tokenizer.token_text(ids[0])):
        with pytest.raises(ValueError, match=f"id {wrong} is not in the tokenizer's vocabulary of 280"):
            use([wrong])


def test_an_absent_a_torn_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.*name a folder with tokenizer\.json|expected a folder"):
        Tokenizer.load(tmp_path / "nowhere")
    torn = write(tmp_path / "torn", None) / "tokenizer.json"
    torn.write_text(torn.read_text()[:-40])
    with pytest.raises(ValueError, match=r"torn/tokenizer\.json: not valid JSON"):
        Tokenizer.load(tmp_path / "torn")
    torn.write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"torn.*not a Hugging Face tokenizer"):
        Tokenizer.load(torn)


def test_a_tokenizer_that_does_not_say_what_ends_a_document_asks_for_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "mute", {"model_max_length": 8})
    with pytest.raises(ValueError, match=r"mute: no eos token: .*pass eos=… \(added tokens: <a>, <b>\)"):
        Tokenizer.load(folder)
    with pytest.raises(ValueError, match=r"mute: eos token '<c>' is not in the tokenizer's vocabulary"):
        Tokenizer.load(folder, eos="<c>")
    assert (Tokenizer.load(folder, eos="<b>").bos_id, Tokenizer.load(folder, eos="<b>").eos_id) == (1, 1)
    told = Tokenizer.load(folder, bos="<a>", eos="<b>")
    told.save(tmp_path / "told")
    again = Tokenizer.load(tmp_path / "told")
    assert (again.bos_id, again.eos_id) == (0, 1)


@pytest.mark.parametrize(
    ("names", "config", "roles"),
    [
        (("<s>", "</s>"), None, (0, 1, None, None)),
        (("<|endoftext|>", "<|pad|>"), None, (0, 0, 1, None)),
        (("<a>", "<b>"), {"eos_token": {"content": "<b>"}, "bos_token": None}, (1, 1, None, None)),
        (("[CLS]", "[SEP]"), {"cls_token": "[CLS]", "sep_token": "[SEP]"}, (0, 1, None, None)),
        (("<e>", "<p>"), {"eos_token": "<e>", "unk_token": "<e>", "pad_token": "<p>"}, (0, 0, 1, None)),
    ],
)
def test_roles_are_read_from_what_published_tokenizers_say(
    tmp_path: Path, names: tuple[str, ...], config: dict[str, Any] | None, roles: tuple[int | None, ...]
) -> None:
    tokenizer = Tokenizer.load(write(tmp_path / "some", config, names))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id) == roles
    assert tokenizer.special_ids == {0, 1}


def test_another_segmenter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = train(Words(), VERSE)
    here.save(tmp_path)
    monkeypatch.setattr(word_codec, "segmenter_check", lambda cut: "other")
    assert train(Words(), VERSE).fingerprint != here.fingerprint
    with pytest.raises(ValueError, match="the installed rjieba cuts words in another way"):
        Tokenizer.load(tmp_path)


def test_words_lose_what_is_unknown_and_the_spaces_beside_it() -> None:
    tokenizer = train(Words(), VERSE)
    assert tokenizer.lost_bytes("To be") == 0
    assert tokenizer.decode(tokenizer.encode("To fly, 故乡")) == "To <unk>, 故乡"
    assert tokenizer.lost_bytes("To fly, 故乡") == len(" fly")
    assert tokenizer.lost_bytes("龘龘") == len("龘龘".encode())


def test_text_that_is_cut_at_spaces_is_read_as_it_is() -> None:
    text = "no it was n't <unk> 's\nmr. <unk> said N years"
    tokenizer = train(Words(cut="spaces"), [text])
    assert len(tokenizer.encode(text)) == len(text.replace("\n", " \n ").split(" "))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.lost_bytes(text) == 0
    assert tokenizer.decode(tokenizer.encode("it flew\n said")) == "it <|unk|>\n<|unk|> said"
    assert tokenizer.lost_bytes("it flew\n said") == len(" flew" + " ")


def test_a_sample_is_bounded_in_order_and_always_the_same() -> None:
    texts = [f"{number} " + "字" * (number % 50) for number in range(4000)]
    drawn = sample(texts, 20_000)
    size = sum(len(text.encode()) for text in drawn)
    assert 19_000 < size <= 20_000
    assert drawn == sample(iter(texts), 20_000)
    places = [texts.index(text) for text in drawn]
    assert places == sorted(places)
    assert 1600 < sum(places) / len(places) < 2400
    assert sample(texts, 10**9) == texts


def test_pieces_put_together_are_the_text() -> None:
    text = "行\n" * 50_000 + "x" * 200_000
    cut = list(pieces([text, "", "y"]))
    assert "".join(cut) == text + "y"
    assert max(map(len, cut)) <= 65_536


def test_the_verbs_train_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "verse.txt"
    text.write_text("\n".join(VERSE * 30), encoding="utf-8")
    for kind in ("bpe", "word"):
        assert (
            run(["tokenizer", "train", str(text), f"out={tmp_path / kind}", f"kind={kind}", "vocab_size=300"])
            == 0
        )
    assert Tokenizer.load(tmp_path / "bpe").vocab_size == 300
    capsys.readouterr()
    words = ["tokenizer", "report", str(tmp_path / "bpe"), str(text), f"other={tmp_path / 'word'}"]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "bytes/token" in shown and "lost bytes" in shown and "床前|明月光|，" in shown


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["train", "out=x"], "no text given"),
        (["train", "nowhere.txt", "out=x"], "nowhere.txt"),
        (["train", "VERSE", "out=x", "vocab=3"], "unknown key vocab; did you mean vocab_size?"),
        (["train", "VERSE", "out=x", "kind=bep"], "kind is 'bep'; did you mean bpe?"),
        (["report", "nowhere", "VERSE"], "nowhere"),
    ],
)
def test_the_verbs_explain_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    verse = tmp_path / "verse.txt"
    verse.write_text(VERSE[0], encoding="utf-8")
    assert run(["tokenizer", *(str(verse) if word == "VERSE" else word for word in words)]) == 2
    assert problem in capsys.readouterr().err
    assert not Path("x").exists()
