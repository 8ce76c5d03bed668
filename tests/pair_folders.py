"""Folders of tiny encoder–decoders as a hub holds them, each with the kind of tokenizer that its family has."""

import json
from io import BytesIO
from pathlib import Path

import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import foreign_pairs
from published_folders import TEXTS

LINES = [line for text in TEXTS for line in text.replace("。", "。\n").splitlines() if line.strip()]
OTHER = [
    "Das Meer ist weit und die Schiffe sind klein.",
    "Heute ist das Wetter schön, gehen wir in den Park.",
]


def pieces(file: Path, texts: list[str], size: int, **more: object) -> list[str]:
    """Write a unigram model; returns its pieces."""
    held = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 3),
        model_writer=held,
        vocab_size=size,
        model_type="unigram",
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **more,
    )
    file.write_bytes(held.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=held.getvalue())
    return [model.id_to_piece(number) for number in range(model.get_piece_size())]


def marian_folder(folder: Path, *, apart: bool = False) -> transformers.MarianMTModel:
    """Write an OPUS-MT folder whose vocabulary lacks some pieces of its models; returns the model."""
    folder.mkdir(parents=True, exist_ok=True)
    source, target = (
        pieces(folder / f"{side}.spm", texts, 150)[3:]
        for side, texts in (("source", LINES), ("target", OTHER + LINES[:1]))
    )
    kept = [piece for place, piece in enumerate(source) if place % 9]
    first = ["</s>", "<unk>"]
    theirs = [*target, ">>deu<<", ">>zho<<", *([] if apart else kept)]
    names = list(dict.fromkeys([*first, *theirs, "<pad>"]))
    read = list(dict.fromkeys([*first, *kept, ">>deu<<", "<pad>"])) if apart else names
    write(folder / "vocab.json", {name: number for number, name in enumerate(read)})
    if apart:
        write(folder / "target_vocab.json", {name: number for number, name in enumerate(names)})
    settings = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    write(folder / "tokenizer_config.json", settings | {"separate_vocabs": apart})
    more = (
        {"vocab_size": len(read), "decoder_vocab_size": len(names)} if apart else {"vocab_size": len(names)}
    )
    pad = min(len(read), len(names)) - 1 if apart else len(names) - 1
    torch.manual_seed(0)
    model = foreign_pairs.marian(
        **more,
        share_encoder_decoder_embeddings=not apart,
        max_position_embeddings=256,
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        scale_embedding=False,
    )
    return saved(model, folder, bad_words_ids=[[pad]], max_length=24)


def t5_folder(folder: Path, *, flan: bool = False) -> transformers.T5ForConditionalGeneration:
    """Write a T5 folder with its SentencePiece model alone; returns the model."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pieces(folder / "spiece.model", LINES, 150, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    write(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": 5})
    # Rounded up, as theirs.
    given = {"vocab_size": len(found) + 8, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    given["n_positions"] = 256
    if flan:
        model = foreign_pairs.t5(**given, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        return saved(foreign_pairs.untied(model), folder, max_length=24)
    model = foreign_pairs.t5(**given)
    return saved(model, folder, max_length=24)


def mt5_folder(folder: Path) -> transformers.MT5ForConditionalGeneration:
    """Write an mT5 folder, which is a T5's by another name with a head of its own; returns the model."""
    t5_folder(folder)
    given = json.loads((folder / "config.json").read_text())
    sizes = {name: given[name] for name in ("vocab_size", "n_positions", "pad_token_id", "eos_token_id")}
    torch.manual_seed(0)
    start = {"decoder_start_token_id": given["decoder_start_token_id"]}
    model = foreign_pairs.t5(
        transformers.MT5Config, transformers.MT5ForConditionalGeneration, **sizes, **start
    )
    return saved(foreign_pairs.untied(model), folder, max_length=24)


def bart_folder(folder: Path) -> transformers.BartForConditionalGeneration:
    """Write a BART folder that forces marks at both ends, as those that summarise do; returns the model."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(LINES, trainer)
    engine.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    names = transformers.BartTokenizerFast(tokenizer_object=engine)
    names.save_pretrained(folder)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    forced = {"forced_bos_token_id": 0, "forced_eos_token_id": 2}
    torch.manual_seed(0)
    model = foreign_pairs.bart(vocab_size=len(names), max_position_embeddings=256, **ids, **forced)
    with torch.no_grad():
        model = saved(model, folder, min_length=12, max_length=20, **forced)
        model.final_logits_bias[0, 2] += 20  # it would end at once
    model.save_pretrained(folder)
    return model


def write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def saved(model, folder, **speaking):
    """Give every parameter a value that counts, and write the model."""
    foreign_pairs.unsettle(model)
    names = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[len(names) :] = 0  # rows that no token has, which we never say
    # Random weights would say one token for ever.
    model.generation_config.update(**speaking, no_repeat_ngram_size=2)
    model.save_pretrained(folder)
    return model
