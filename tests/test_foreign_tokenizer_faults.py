"""Foreign tokenizers that are torn, contradict themselves or ask for what we lack: one line, place and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreign_tokenizers import make_merges, make_pieces, make_ranks, make_words, write_settings
from rootlm.tokenizers.split_patterns import GPT_2
from rootlm.tokenizers.tokenizer import Tokenizer

GPT = ("<|endoftext|>",)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of one sound tokenizer of each form."""
    base = tmp_path_factory.mktemp("sound")
    make_pieces(base / "pieces", "bpe", user_defined_symbols=["<sep>"])
    make_pieces(base / "unigram", "unigram")
    make_ranks(base / "ranks", GPT_2)
    make_merges(base / "merges", GPT)
    make_words(base / "words", cased=True)
    Tokenizer.load(base / "merges").save(base / "json")
    forms = ("pieces", "unigram", "ranks", "merges", "words", "json")
    return {form: {file.name: file.read_bytes() for file in (base / form).iterdir()} for form in forms}


def lay(files: dict[str, bytes], folder: Path, **settings: Any) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return write_settings(folder, **settings) if settings else folder


def refused(folder: Path, problem: str, **words: Any) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        Tokenizer.load(folder, **words)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def edit(files: dict[str, bytes], name: str, change: Callable[[Any], Any]) -> dict[str, bytes]:
    content = json.loads(files[name])
    return {**files, name: json.dumps(change(content) or content).encode()}


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("pieces", "tokenizer.model"),
        ("unigram", "tokenizer.model"),
        ("ranks", "made.tiktoken"),
        ("merges", "merges.txt"),
        ("merges", "vocab.json"),
        ("json", "tokenizer.json"),
    ],
)
def test_a_file_that_was_cut_short_is_named(
    sound: dict[str, dict[str, bytes]], form: str, name: str, share: float, tmp_path: Path
) -> None:
    files = dict(sound[form])
    files[name] = files[name][: int(len(files[name]) * share)]
    settings = {"eos_token": "<|endoftext|>"} if form in ("ranks", "merges") else {}
    words = {"pattern": "cl100k_base"} if form == "ranks" and share < 0.01 else {}
    refused(lay(files, tmp_path, **settings), name, **words)


def test_a_vocabulary_of_word_pieces_without_its_unknown_is_torn(
    sound: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    refused(lay({"vocab.txt": b"a\nb\n"}, tmp_path), r"vocab\.txt: '\[UNK\]', which stands for unknown words")
    double = sound["words"]["vocab.txt"] + b"[MASK]\n"
    refused(lay({"vocab.txt": double}, tmp_path), r"vocab\.txt:\d+: '\[MASK\]' was given before, in line 5")
    refused(lay({"vocab.txt": b"\xff\xfe"}, tmp_path), r"vocab\.txt: not UTF-8 text")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda names: names.update(new=7), r"vocab\.json: .* and 'new' both have id 7"),
        (lambda names: names.update(new=5000), r"vocab\.json: no token has id 1500, .* it has holes"),
        (lambda names: names.update(new="x"), r"vocab\.json: not a vocabulary"),
        (lambda names: [1], r"vocab\.json: not a Hugging Face tokenizer"),
        (lambda names: {"a": 0, "b": 1}, r"merges\.txt: merge 0, .* is not in the vocabulary|no entry"),
    ],
)
def test_a_vocabulary_with_holes_or_double_ids_is_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, change: Callable[[Any], Any], problem: str
) -> None:
    files = edit(sound["merges"], "vocab.json", change)
    refused(lay(files, tmp_path), problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "zzzz q",
            r"merges\.txt: merge \d+, 'zzzz' with 'q': 'zzzz' is not in the vocabulary; .* belong together",
        ),
        ("a b c", r"merges\.txt:\d+: expected two tokens with a space between, found 'a b c'"),
        ("a", r"merges\.txt:\d+: expected two tokens"),
    ],
)
def test_a_merge_of_unknown_tokens_is_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, line: str, problem: str
) -> None:
    files = {**sound["merges"], "merges.txt": sound["merges"]["merges.txt"] + f"{line}\n".encode()}
    refused(lay(files, tmp_path), problem)


def test_merges_that_are_missing_are_named(sound: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    files = {"vocab.json": sound["merges"]["vocab.json"]}
    refused(
        lay(files, tmp_path), r"merges\.txt: cannot be read \(No such file or directory\); it belongs beside"
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"YQ== 9999\n", r"made\.tiktoken:1501: token or rank 9999 was given before, in line \d+"),
        (b"enp6eno= 7\n", r"made\.tiktoken:1501: token or rank 7 was given before, in line 8"),
        (b"enp6eno= 9999\n", r"made\.tiktoken: no token has rank 1500, though there are ranks up to 9999"),
        (b"not base64 7\n", r"made\.tiktoken:1501: not a token in base64 and its rank"),
    ],
)
def test_ranks_that_contradict_each_other_are_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, row: bytes, problem: str
) -> None:
    files = {"made.tiktoken": sound["ranks"]["made.tiktoken"] + row}
    refused(lay(files, tmp_path), problem, pattern="cl100k_base")


def test_ranks_ask_how_text_is_cut(sound: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    folder = lay(sound["ranks"], tmp_path)
    refused(folder, r"made\.tiktoken: ranks do not say how text is cut; pass pattern=")
    with pytest.raises(ValueError, match="pattern 'cl100k' is not a published one"):
        Tokenizer.load(folder, pattern="cl100k")
    with pytest.raises(ValueError, match=r"pattern '\(' is no regular expression"):
        Tokenizer.load(folder, pattern="(")
    refused(folder, "no eos token", pattern=r"\s+|\S+")
    (folder / "made.tiktoken").rename(folder / "cl100k_base.tiktoken")
    refused(folder, r"cl100k_base\.tiktoken: 1500 ranks, but cl100k_base has 100256; the file is cut short")


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"normalizer": {"type": "Rot13"}}, "normalizer 'Rot13' is not known; rootlm has BertNormalizer"),
        ({"pre_tokenizer": {"type": "Jieba"}}, "pre_tokenizer 'Jieba' is not known"),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "X"}]}},
            "pre_tokenizer 'X'",
        ),
        ({"decoder": {"type": "Morse"}}, "decoder 'Morse' is not known"),
        ({"model": {"type": "Diffusion", "vocab": {"a": 0}}}, "model 'Diffusion' is not known"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, "the model has no vocabulary"),
        ({"pre_tokenizer": {"type": "Digits"}}, "the engine cannot read this tokenizer"),
    ],
)
def test_parts_that_are_not_known_are_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, part: dict[str, Any], problem: str
) -> None:
    refused(lay(edit(sound["json"], "tokenizer.json", lambda spec: spec.update(part)), tmp_path), problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda spec: spec["model"]["vocab"].update(new=7), "both have id 7"),
        (
            lambda spec: spec["model"]["merges"].append(["zz", "q"]),
            r"merge \d+, 'zz' with 'q': 'zz' is not in",
        ),
        (lambda spec: spec["model"]["merges"].append(["zz"]), "are not two tokens"),
        (
            lambda spec: spec["added_tokens"].append({**spec["added_tokens"][0], "content": "<x>", "id": 3}),
            "both have id 3",
        ),
        (lambda spec: spec["model"].update(merges=None), "merges are no list of pairs"),
        (lambda spec: spec["model"].update(merges=[1, 2]), "merges are no list of pairs"),
        (lambda spec: spec["model"].update(continuing_subword_prefix="x"), "does not begin with 'x'"),
        (lambda spec: spec["model"].update(unk_token=["a"]), "unk_token must be texts"),
        (lambda spec: spec.update(added_tokens={"a": 1}), "added_tokens are no list"),
        (lambda spec: spec.update(added_tokens=[{"content": "x"}]), "which has no text or no id"),
        (lambda spec: spec["added_tokens"].append({"id": 9, "content": ""}), "which has no text or no id"),
        (lambda spec: spec.update(normalizer=["NFC"]), r"normalizer \['NFC'\] is not known"),
        (
            lambda spec: spec.update(
                post_processor={
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}],
                    "pair": [],
                    "special_tokens": {},
                }
            ),
            "sets '<x>' around texts, whose id it does not say",
        ),
    ],
)
def test_a_published_file_that_contradicts_itself_is_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, change: Callable[[Any], Any], problem: str
) -> None:
    refused(lay(edit(sound["json"], "tokenizer.json", lambda spec: change(spec) and None), tmp_path), problem)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
def test_a_file_that_is_nested_without_end_is_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, name: str
) -> None:
    folder = lay(sound["json"], tmp_path)
    (folder / name).write_text("[" * 50_000)
    refused(folder, f"{name}: not valid JSON")


def test_an_empty_template_is_none(sound: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    folder = lay(sound["json"], tmp_path)
    (folder / "chat_template.jinja").write_text("")
    assert not Tokenizer.load(folder).chat_templates


def test_one_token_for_the_end_and_for_padding_is_refused(
    sound: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    folder = lay(sound["merges"], tmp_path, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    refused(folder, r"pad and eos are both '<\|endoftext\|>'.*pass pad=….*or set pad_token in .* to null")
    assert Tokenizer.load(folder, pad="Ġthe").pad_id is not None
    write_settings(folder, eos_token="<|endoftext|>", pad_token=None)
    assert Tokenizer.load(folder).pad_id is None


@pytest.mark.parametrize(
    ("form", "settings", "problem"),
    [
        (
            "merges",
            {"tokenizer_class": "CLIPTokenizer"},
            "CLIPTokenizer of tokenizer_config.json is not supported",
        ),
        (
            "pieces",
            {"tokenizer_class": "XLMRobertaTokenizerFast"},
            "XLMRobertaTokenizer of .* is not supported",
        ),
        ("words", {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapaneseTokenizer"),
        (
            "merges",
            {"added_tokens_decoder": {"7": {"content": "<x>"}}},
            "settings give id 7 to '<x>', but there",
        ),
        (
            "merges",
            {"added_tokens_decoder": {"999999": {"content": "<x>"}}},
            "gives? '<x>' the id 999,999, but there are only",
        ),
        ("merges", {"added_tokens_decoder": {"x": {"content": "<x>"}}}, "is no list of tokens by their ids"),
        ("merges", {"added_tokens_decoder": [1]}, "is no list of tokens by their ids"),
        ("merges", {"eos_token": {"text": "x"}}, "eos_token is .*, expected a token's text"),
        ("pieces", {"tokenizer_class": "T5Tokenizer", "extra_ids": "x"}, "extra_ids is 'x', expected"),
        ("merges", {"chat_template": 7}, r"tokenizer_config\.json: chat_template is neither"),
        ("merges", {"chat_template": "{% if %}"}, r"tokenizer_config\.json: chat template, line 1"),
        ("merges", {"chat_template": "{{ x.__class__ }}"}, "the sandbox forbids to read '__class__'"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, form: str, settings: dict[str, Any], problem: str
) -> None:
    refused(lay(sound[form], tmp_path, **settings), problem)


def test_ids_left_free_by_added_tokens_are_reserved(
    sound: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    added = {"1503": {"content": "<|end|>", "special": True}, "1501": {"content": "<tool>", "special": False}}
    folder = lay(sound["merges"], tmp_path, eos_token="<|end|>", added_tokens_decoder=added)
    tokenizer = Tokenizer.load(folder)
    assert (tokenizer.eos_id, tokenizer.vocab_size) == (1503, 1504)
    assert tokenizer.token_text(1502) == "<|reserved_token_1502|>"
    assert tokenizer.encode("x<tool>")[-1] == 1501
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").fingerprint == tokenizer.fingerprint
    assert Tokenizer.load(tmp_path / "saved").with_mask().mask_id == 1504


def altered(model: bytes, **changes: Any) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    for place, (field, value) in changes.get("pieces", {}).items():
        setattr(proto.pieces[place], field, value)
    for part in ("trainer_spec", "normalizer_spec", "denormalizer_spec"):
        for field, value in changes.get(part, {}).items():
            setattr(getattr(proto, part), field, value)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"pieces": {900: ("piece", "▁the")}}, r"the piece '▁the' has two ids, \d+ and 900"),
        ({"pieces": {900: ("type", 5)}}, "is marked unused, which is not supported"),
        ({"pieces": {0: ("type", 1)}}, "no piece stands for what is unknown"),
        ({"trainer_spec": {"eos_id": 9999}}, "eos is piece 9999, but there are only 2600 pieces"),
        ({"trainer_spec": {"model_type": 3}}, "kind 'word' are not supported; only unigram and bpe"),
        ({"trainer_spec": {"byte_fallback": True}}, "the piece <0x00> is missing"),
        ({"trainer_spec": {"treat_whitespace_as_suffix": True}}, "treat_whitespace_as_suffix"),
        ({"normalizer_spec": {"escape_whitespaces": False}}, "escape_whitespaces=false"),
        (
            {"normalizer_spec": {"precompiled_charsmap": b"\xff\xff\xff\x00abc"}},
            "rules for characters are torn",
        ),
        ({"denormalizer_spec": {"precompiled_charsmap": b"\x04\x00\x00\x00abcd"}}, "denormalizer_spec"),
    ],
)
def test_pieces_that_we_cannot_read_the_same_way_are_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    name = "tokenizer.model"
    refused(lay({name: altered(sound["pieces"][name], **changes)}, tmp_path), problem)


def test_pieces_whose_order_in_the_text_decides_are_named(
    sound: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    name = "tokenizer.model"
    tied = dict.fromkeys(range(4, 1500), ("score", 0.0))
    refused(lay({name: altered(sound["pieces"][name], pieces=tied)}, tmp_path), "have one score")


def test_several_tokenizers_and_none_are_named(sound: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    refused(tmp_path, "expected a folder with tokenizer.json, tokenizer.model")
    model = sound["pieces"]["tokenizer.model"]
    folder = lay({"source.model": model, "target.model": model}, tmp_path)
    refused(folder, r"several tokenizers \(source\.model, target\.model\); name one of the files")
    assert Tokenizer.load(folder / "source.model").origin == folder / "source.model"
