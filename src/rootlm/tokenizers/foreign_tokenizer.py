"""The door for tokenizers of other libraries: whatever form they have on disk, one `tokenizer.json` comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from rootlm.tokenizers.added_tokens import added_token, token_name, vocabulary_of, with_added_tokens
from rootlm.tokenizers.piece_model import read_piece_model
from rootlm.tokenizers.piece_normalizer import SETTING
from rootlm.tokenizers.piece_pair import PAIR, TARGET, is_pair, pair_spec
from rootlm.tokenizers.piece_pipeline import normal_form, piece_spec
from rootlm.tokenizers.rank_file import guess_encoding, looks_like_ranks, rank_spec
from rootlm.tokenizers.spec_check import check_spec
from rootlm.tokenizers.split_patterns import ENCODINGS, Encoding
from rootlm.tokenizers.tokenizer_settings import CONFIG, read_settings
from rootlm.tokenizers.vocabulary_files import MERGES, merged_spec, word_piece_spec

Spec = dict[str, Any]
TOKENIZER = "tokenizer.json"
_LOOKED_FOR = (
    TOKENIZER,
    "tokenizer.model",
    "spiece.model",
    "*.model",
    "*.tiktoken",
    "vocab.json",
    "vocab.txt",
)
_SENTINELS, _MOST_SENTINELS = 100, 10_000
# Of T5, where its settings do not count them.
_CLASSES = {
    "pieces": ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "T5Tokenizer", "MT5Tokenizer"),
    "ranks": ("QWenTokenizer", "TikTokenTokenizer"),
    "merges": ("GPT2Tokenizer", "RobertaTokenizer", "BartTokenizer", "Qwen2Tokenizer", "Qwen3Tokenizer"),
    "words": ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"),
}
_LLAMAS = ("LlamaTokenizer", "CodeLlamaTokenizer")
_ANY_CLASS = ("", "PreTrainedTokenizer", "TokenizersBackend", "AutoTokenizer")
_GPT_2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_BERT = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True)
class Found:
    """A tokenizer as it lies on disk, in our own form."""

    spec: Spec
    """The parsed `tokenizer.json`."""
    settings: Mapping[str, Any]
    """What lay beside it, or what its kind means by silence."""
    file: Path
    """The file that decides the ids."""


def find_tokenizer(path: Path, *, pattern: str | None = None) -> Found:
    """Read the tokenizer of a folder, or one file; `pattern` says how the text of a file of ranks is cut.

    Raises ValueError naming the file when it is absent, torn, or asks for what we do not have.
    """
    file = _pick(path) if path.is_dir() else path
    if file.suffix == ".spm":
        return _pair(file)
    if not file.is_file():
        raise ValueError(f"{file}: cannot be read; expected a folder with {', '.join(_LOOKED_FOR)}")
    other_json = file.suffix == ".json" and file.name not in (TOKENIZER, "vocab.json")
    found = _read(file, {} if other_json else read_settings(file.parent), pattern)
    check_spec(found.spec, file)
    if not found.settings:
        vocabulary_of(found.spec, file)
        return found
    return Found(with_added_tokens(found.spec, found.settings, file), found.settings, file)


def _pick(folder: Path) -> Path:
    if is_pair(folder) and not (folder / TOKENIZER).is_file():
        return folder / TARGET  # a vocab.json beside it numbers what it cuts
    for name in _LOOKED_FOR:
        there = sorted(file for file in folder.glob(name) if file.is_file())
        if len(there) > 1:
            listed = ", ".join(file.name for file in there[:4])
            raise ValueError(f"{folder}: several tokenizers ({listed}); name one of the files")
        if there:
            return there[0]
    return folder / TOKENIZER


def _read(file: Path, settings: Mapping[str, Any], pattern: str | None) -> Found:
    if file.suffix == ".txt":
        return _words(file, settings)
    if file.suffix == ".json":
        content = _json(file)
        if isinstance(content.get("model"), Mapping):
            return Found(_with_kind(content, file), settings, file)
        if file.name == "vocab.json" or file.with_name(MERGES).is_file():
            return _merges(file, settings)
        raise ValueError(f"{file}: not a Hugging Face tokenizer: it holds no model")
    if looks_like_ranks(file):
        return _ranks(file, settings, pattern)
    return _pieces(file, settings)


def _pieces(file: Path, settings: Mapping[str, Any]) -> Found:
    kind = _class(settings, "pieces", file)
    model = read_piece_model(file)
    once = kind in _LLAMAS and not settings.get("legacy") and not model.remove_extra_whitespaces
    try:
        spec = piece_spec(model, prefix_once=once)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    names = {f"{role}_token": model.pieces[number].name for role, number in model.special_ids.items()}
    settings = {**names, **settings, SETTING: normal_form(model, prefix_once=once)}
    if kind in ("T5Tokenizer", "MT5Tokenizer"):
        count = settings.get("extra_ids", _SENTINELS if kind == "T5Tokenizer" else 0)
        if not isinstance(count, int) or not 0 <= count <= _MOST_SENTINELS:
            raise ValueError(f"{file.with_name(CONFIG)}: extra_ids is {count!r}, expected a whole number")
        sentinels = [f"<extra_id_{place}>" for place in range(count - 1, -1, -1)]
        more = [name for name in settings.get("additional_special_tokens") or () if name not in sentinels]
        settings = {**settings, "additional_special_tokens": [*sentinels, *more]}
    begins = kind in (*_LLAMAS, "GemmaTokenizer")
    ends = kind in ("T5Tokenizer", "MT5Tokenizer")
    begin = settings.get("bos_token") if settings.get("add_bos_token", begins) else None
    end = settings.get("eos_token") if settings.get("add_eos_token", ends) else None
    return Found(_wrapped(spec, begin, end), settings, file)


def _pair(file: Path) -> Found:
    spec, pair, model = pair_spec(file)
    settings: dict[str, Any] = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        PAIR: pair,
        SETTING: normal_form(model),
    }
    if any(token["content"] == "<pad>" for token in spec["added_tokens"]):
        settings["pad_token"] = "<pad>"
    return Found(_wrapped(spec, None, "</s>"), settings, file)


def _ranks(file: Path, settings: Mapping[str, Any], pattern: str | None) -> Found:
    _class(settings, "ranks", file)
    name = pattern or guess_encoding(file)
    encoding = ENCODINGS.get(name) or Encoding(_checked_pattern(name), 0)
    end = next((token for token in ("<|endoftext|>", "<|end_of_text|>") if token in encoding.special), None)
    begin = "<|begin_of_text|>" if "<|begin_of_text|>" in encoding.special else None
    names = {"bos_token": begin, "eos_token": end}
    return Found(rank_spec(file, encoding), {**{k: v for k, v in names.items() if v}, **settings}, file)


def _merges(file: Path, settings: Mapping[str, Any]) -> Found:
    kind = _class(settings, "merges", file)
    spec = merged_spec(file, settings)
    roberta = kind in ("RobertaTokenizer", "BartTokenizer") or (
        kind == "" and {"<s>", "</s>", "<pad>"} <= set(spec["model"]["vocab"])
    )
    names = _ROBERTA if roberta else _GPT_2
    settings = {**_present(names, spec), **settings}
    spec = _with_unknown(spec, settings)
    if roberta:
        spec = _wrapped(spec, settings.get("cls_token"), settings.get("sep_token"), between=2)
    return Found(spec, settings, file)


def _words(file: Path, settings: Mapping[str, Any]) -> Found:
    _class(settings, "words", file)
    spec = word_piece_spec(file, settings)
    settings = {**_present(_BERT, spec), **settings}
    spec = _with_unknown(spec, settings)
    return Found(_wrapped(spec, settings.get("cls_token"), settings.get("sep_token")), settings, file)


def _class(settings: Mapping[str, Any], form: str, file: Path) -> str:
    """Return the class that the settings name; raises ValueError where that class reads such a file otherwise."""
    name = str(settings.get("tokenizer_class") or "").removesuffix("Fast")
    if name in _ANY_CLASS:
        return ""
    if name not in _CLASSES[form]:
        raise ValueError(
            f"{file}: {name} of {CONFIG} is not supported with such a file (supported: "
            f"{', '.join(_CLASSES[form])}); save it as {TOKENIZER} elsewhere"
        )
    return name


def _present(names: Mapping[str, str], spec: Spec) -> dict[str, str]:
    return {role: name for role, name in names.items() if name in spec["model"]["vocab"]}


def _with_unknown(spec: Spec, settings: Mapping[str, Any]) -> Spec:
    """Let the unknown be silent, as it is in published files: it says nothing of the text it stands for."""
    name = token_name(settings.get("unk_token"))
    if name is None or name not in spec["model"]["vocab"]:
        return spec
    return {**spec, "added_tokens": [added_token(spec["model"]["vocab"][name], name, special=True)]}


def _wrapped(spec: Spec, begin: object, end: object, *, between: int = 1) -> Spec:
    """Say for other libraries which tokens stand around a text; here it is the caller who adds them."""
    vocabulary = vocabulary_of(spec, Path(TOKENIZER))
    first, last = token_name(begin), token_name(end)
    first = first if first in vocabulary else None
    last = last if last in vocabulary else None
    if first is None and last is None:
        return spec

    def special(name: str | None, kind: int) -> list[Spec]:
        return [{"SpecialToken": {"id": name, "type_id": kind}}] if name is not None else []

    text: list[Spec] = [{"Sequence": {"id": "A", "type_id": 0}}]
    other: list[Spec] = [{"Sequence": {"id": "B", "type_id": 2 - between}}]
    single = [*special(first, 0), *text, *special(last, 0)]
    again = special(last, 0) if between == 2 else special(first, 1) if last is None else []
    pair = [*single, *again, *other, *special(last, 2 - between)]
    names = {name for name in (first, last) if name is not None}
    tokens = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in sorted(names)}
    return {
        **spec,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": tokens,
        },
    }


def _checked_pattern(pattern: str) -> str:
    from tokenizers import Regex

    if pattern.replace("_", "").isalnum():
        raise ValueError(f"pattern {pattern!r} is not a published one (known: {', '.join(ENCODINGS)})")
    try:
        Regex(pattern)
    except Exception as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression ({error})") from error
    return pattern


def _with_kind(content: Spec, file: Path) -> Spec:
    """Name the kind of model where an early file does not."""
    if content.get("added_tokens", []) is None:
        content = {**content, "added_tokens": []}
    model = content["model"]
    if model.get("type"):
        return content
    kinds = {"merges": "BPE", "max_input_chars_per_word": "WordPiece", "unk_id": "Unigram"}
    kind = next((kind for key, kind in kinds.items() if key in model), None)
    if kind is None:
        raise ValueError(f"{file}: the kind of its model is not named; the file is torn or not a {TOKENIZER}")
    return {**content, "model": {"type": kind, **model}}


def _json(file: Path) -> Spec:
    try:
        content = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); expected a {TOKENIZER}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{file}: not valid JSON ({error}); the file is torn or not a {TOKENIZER}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: not a Hugging Face tokenizer: it holds no model")
    return content
