"""What an encoder is used for: scores of hidden tokens, fillings, vectors; and the whole way from the command line."""

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import rootlm
from encoders import build_encoder
from rootlm.data.store import open_or_build
from rootlm.data.word_table import open_or_build_starts
from rootlm.evaluation.agreement import agreement
from rootlm.evaluation.embeddings import embed, read_rated, tell
from rootlm.evaluation.figures import compare, evaluate
from rootlm.evaluation.filling import fill
from rootlm.evaluation.pseudo_likelihood import pseudo_score_ids
from rootlm.models.interface import All
from rootlm.runs.sentence_folders import SentenceWay
from rootlm.text.document import Document
from rootlm.text.words.segment import Segment
from rootlm.tokenizers.byte_pieces import BytePairs
from rootlm.tokenizers.character_pieces import Characters
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_training import train
from rootlm.tokenizers.unigram import Unigram
from rootlm.tokenizers.word_starts import word_starts
from rootlm.tokenizers.words import Words
from toys import byte_tokenizer, lowercase_tokenizer

TEXTS = [
    "我们研究生命的起源，南京市长江大桥很长。",
    "The children weren't playing in the garden; they slept.",
    "床前明月光，疑是地上霜。 He said: 明月 is the bright moon.",
    "",
]
KINDS = {
    "bpe": BytePairs(vocab_size=320),
    "unigram": Unigram(vocab_size=340),
    "character": Characters(),
    "word": Words(),
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    return train(KINDS[request.param], TEXTS * 20)


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer().with_mask()


@pytest.fixture
def model(tokenizer):
    return build_encoder("modern", tokenizer.vocab_size)


def test_a_mask_is_one_more_token_that_no_text_makes(trained, tmp_path):
    masked = trained.with_mask()
    assert trained.mask_id is None
    assert masked.mask_id == trained.vocab_size == masked.vocab_size - 1
    assert masked.mask_id in masked.special_ids
    assert masked.with_mask() is masked
    assert masked.fingerprint != trained.fingerprint
    for text in [*TEXTS, "a<|mask|>b", "<mask>"]:
        assert masked.encode(text) == trained.encode(text)
    masked.save(tmp_path)
    opened = Tokenizer.load(tmp_path)
    assert (opened.mask_id, opened.fingerprint) == (masked.mask_id, masked.fingerprint)
    assert opened.decode([masked.mask_id]) == ""


def test_words_begin_where_the_segmenter_says(trained):
    encoded = [trained.encode(text) for text in TEXTS]
    for text, ids, starts in zip(TEXTS, encoded, word_starts(trained, TEXTS, encoded), strict=True):
        assert len(ids) == len(starts)
        if trained.knows_words:
            assert starts.all()
            continue
        borders, place = set(), 0
        for piece in Segment().build().pieces(text):
            borders.add(place)
            place += len(piece.encode())
        place = 0
        for token, begins in zip(ids, starts, strict=True):
            assert begins == (place in borders)
            place += trained.byte_sizes[token]
        assert place == len(text.encode())


def test_a_tokenizer_that_changes_the_text_is_refused():
    tokenizer = lowercase_tokenizer()
    with pytest.raises(ValueError, match="this tokenizer changes the text"):
        list(word_starts(tokenizer, ["ABC"], [tokenizer.encode("ABC")]))


def test_word_starts_are_kept_beside_the_store_until_it_changes(trained, tmp_path):
    def made(texts):
        documents = [Document(text, "test") for text in texts]
        store = open_or_build(tmp_path / "s", iter(documents), trained, corpus="".join(texts), split="train")
        return store, open_or_build_starts(tmp_path / "s-words", store, iter(documents), trained)

    store, starts = made(TEXTS)
    assert len(starts) == store.tokens
    expected = [word_starts(trained, TEXTS, [trained.encode(text) for text in TEXTS])]
    assert np.array_equal(starts, np.concatenate([part for parts in expected for part in parts]))
    written = (tmp_path / "s-words" / "starts.bin").stat().st_mtime_ns
    made(TEXTS)
    assert (tmp_path / "s-words" / "starts.bin").stat().st_mtime_ns == written
    again, starts = made(TEXTS[1:])
    assert len(starts) == again.tokens != store.tokens


@torch.no_grad()
def test_each_token_is_hidden_in_turn(model, tokenizer):
    ids = tokenizer.encode(TEXTS[1])[:40]
    nats, ranks = pseudo_score_ids(model, ids, (tokenizer.bos_id, tokenizer.mask_id), batch_tokens=64)
    for place, own in enumerate(ids):
        read = [tokenizer.bos_id, *ids]
        read[place + 1] = tokenizer.mask_id
        logits = model.predict(model(torch.tensor([read])), All())[0, place + 1]
        assert nats[place] == pytest.approx(-float(logits.log_softmax(-1)[own]), abs=1e-4)
        assert ranks[place] == int((logits > logits[own]).sum())


@torch.no_grad()
def test_a_long_text_is_read_in_stretches_and_each_token_asked_once(model, tokenizer):
    ids = (tokenizer.encode(TEXTS[0] + TEXTS[1]) * 2)[:171]
    nats, _ = pseudo_score_ids(model, ids, (tokenizer.bos_id, tokenizer.mask_id))
    assert (nats > 0).all()
    # What is asked in the middle of a stretch has neighbours on both sides.
    begin = 92
    alone, _ = pseudo_score_ids(model, ids[begin : begin + 47], (ids[begin - 1], tokenizer.mask_id))
    assert nats[begin + 23] == pytest.approx(alone[23], abs=1e-4)


@torch.no_grad()
def test_a_uniform_encoder_has_the_vocabulary_as_its_pseudo_perplexity(model, tokenizer):
    model.head.weight.zero_()
    model.head.bias.zero_()
    found = evaluate(model, tokenizer, [Document(text, "test") for text in TEXTS])
    plain = found.to_plain()
    assert plain["pseudo_perplexity"]["value"] == pytest.approx(tokenizer.vocab_size)
    # A byte is a token here, and the end of a text is not asked.
    assert plain["pseudo_bits_per_byte"]["value"] == pytest.approx(math.log2(tokenizer.vocab_size))
    assert "no probability of the text" in plain["note"]
    from rootlm.evaluation.figures import Evaluation

    other = Evaluation(found.nats, found.tokens, found.correct, found.bytes, found.lost_bytes)
    with pytest.raises(ValueError, match="cannot be compared with what a text costs"):
        compare(found, other)


@torch.no_grad()
def test_fillings_are_the_likeliest_tokens(model, tokenizer):
    found = fill(model, tokenizer, "The ch<mask>ldren <mask>.", k=4)
    assert [len(gap) for gap in found] == [4, 4]
    ids = tokenizer.encode("The ch")
    read = [tokenizer.bos_id, *ids, tokenizer.mask_id, *tokenizer.encode("ldren "), tokenizer.mask_id]
    logits = model.predict(model(torch.tensor([[*read, *tokenizer.encode(".")]])))[0, len(ids) + 1]
    logits[sorted(tokenizer.special_ids)] = -torch.inf
    shares = logits.softmax(-1).sort(descending=True)
    assert [one.text for one in found[0]] == [tokenizer.token_text(i) for i in shares.indices[:4].tolist()]
    assert [one.probability for one in found[0]] == pytest.approx(shares.values[:4].tolist(), abs=1e-5)
    model.head.bias[tokenizer.mask_id] = 1e4
    assert fill(model, tokenizer, "The ch<mask>ldren <mask>.", k=4)[0] == found[0]
    with pytest.raises(ValueError, match="the text has no gap; write <mask>"):
        fill(model, tokenizer, "no gap")


def test_the_space_before_a_gap_is_the_filling_s(model):
    """A token that begins an English word brings its space along."""
    tokenizer = train(BytePairs(vocab_size=270), ["a banana ate the band " * 40]).with_mask()
    wide = build_encoder("modern", tokenizer.vocab_size)
    assert fill(wide, tokenizer, "a <mask> ate", 3) == fill(wide, tokenizer, "a<mask> ate", 3)


@torch.no_grad()
@pytest.mark.parametrize("how", ["mean", "cls", "last"])
def test_vectors_do_not_depend_on_neighbours(model, tokenizer, how):
    together = embed(model, tokenizer, [*TEXTS, TEXTS[0] * 3], how)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))
    for row, text in enumerate([*TEXTS, TEXTS[0] * 3]):
        torch.testing.assert_close(
            embed(model, tokenizer, [text], how)[0], together[row], atol=1e-5, rtol=1e-4
        )


@torch.no_grad()
def test_numbers_do_not_depend_on_neighbours(tokenizer):
    model = build_encoder("bert", tokenizer.vocab_size, heads={"number": 1})
    together = tell(model, tokenizer, [*TEXTS, TEXTS[1] * 3], "number")
    for row, text in enumerate([*TEXTS, TEXTS[1] * 3]):
        torch.testing.assert_close(tell(model, tokenizer, [text], "number")[0], together[row])


def test_agreement_is_spearman_s():
    drawn = np.random.default_rng(0)
    for _ in range(5):
        first, second = drawn.permutation(30), drawn.permutation(30)
        found = agreement(first * 0.1, second**3)
        # Without ties: 1 − 6 Σ d² / (n (n² − 1)).
        assert found.value == pytest.approx(1 - 6 * ((first - second) ** 2).sum() / (30 * (30**2 - 1)))
        assert found.low < found.value < found.high
    # Equal values share their mean rank: 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert agreement([1, 5, 5, 9], [1, 2, 3, 4]).value == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert agreement([1, 2, 3], [3, 2, 1]).value == -1
    with pytest.raises(ValueError, match="there is no order to agree on"):
        agreement([1, 1], [2, 3])


def test_a_line_that_is_no_rated_pair_is_named(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n{"sentence1": "a"}\n')
    with pytest.raises(ValueError, match=r"pairs\.jsonl:2: is no rated pair"):
        read_rated(file)


RECIPE = """
corpus: {corpus}
tokenizer: {{kind: bpe, vocab_size: 320}}
model: {{kind: encoder, depth: 1, hidden_size: 32, n_heads: 2, context: 32, dropout: 0.1}}
objective: {{kind: masked, unit: word}}
training: {{max_steps: 24, batch_size: 4, eval_steps: 6, save_steps: 6, logging_steps: 1, compile: false,
  precision: float32}}
validation: {{tokens: 400}}
"""


@pytest.fixture(scope="module")
def run(commands, corpus, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("encoder")
    (folder / "r.yaml").write_text(RECIPE.format(corpus=corpus))
    ended = commands.run("train", str(folder / "r.yaml"), f"out={folder / 'run'}")
    assert ended.code == 0, ended.err
    assert "accuracy" in ended.err
    return folder / "run"


def test_a_run_is_evaluated_filled_and_compared(commands, run, tmp_path):
    ended = commands.run("evaluate", str(run), "documents=3", "json=true")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["documents"] == 3
    assert 0 < found["pseudo_bits_per_byte"]["value"] < 9
    assert "pseudo perplexity" in commands.run("evaluate", str(run), "documents=3").out
    ended = commands.run("fill", str(run), "床前<mask>月光", "k=3", "json=true")
    (gap,) = json.loads(ended.out)["gaps"]
    assert len(gap) == 3
    assert "gap 1" in commands.run("fill", str(run), "The <mask>").out
    assert float(commands.run("similarity", str(run), "明月", "明月").out) == pytest.approx(1, abs=1e-3)
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "a b", "sentence2": "a c" * n, "score": n} for n in range(1, 6)]
    pairs.write_text("\n".join(map(json.dumps, rows)))
    assert "5 pairs" in commands.run("similarity", str(run), f"pairs={pairs}").out


def test_an_encoder_does_not_speak_and_a_decoder_does_not_fill(commands, run, recipe, tmp_path):
    ended = commands.run("generate", str(run), "床前")
    assert ended.code == 2
    assert "predicts no next token" in ended.err
    assert commands.run("train", str(recipe), f"out={tmp_path / 'd'}", "training.max_steps=1").code == 0
    ended = commands.run("fill", str(tmp_path / "d"), "床前<mask>")
    assert ended.code == 2
    assert "holds a decoder, which reads one way only" in ended.err
    ended = commands.run("train", str(recipe), f"out={tmp_path / 'x'}", "objective.kind=masked")
    assert ended.code == 2
    assert "objective.kind=masked cannot be asked of model.kind=decoder; set model.kind=encoder" in ended.err


def test_another_objective_goes_on_from_a_run_with_heads_of_its_own(commands, run, tmp_path):
    ended = commands.run(
        "train", str(run.parent / "r.yaml"), f"out={tmp_path / 'next'}", f"init_from={run}",
        "objective.kind=contrastive", "objective.pooling=last", "training.max_steps=2",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    # Texts become vectors as it was learned, in the next run and outside too.
    assert commands.run("export", str(tmp_path / "next"), "--to", "hf", f"out={tmp_path / 'hf'}").code == 0
    ended = commands.run(
        "train", str(run.parent / "r.yaml"), f"out={tmp_path / 'third'}", f"init_from={tmp_path / 'next'}",
        "objective.kind=contrastive", "training.max_steps=1",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "pipeline_tag: sentence-similarity" in (tmp_path / "hf" / "README.md").read_text()
    for name in ("next", "hf", "third"):
        opened = rootlm.load(tmp_path / name)
        assert opened.way == SentenceWay("last", longest=opened.model.context)
    alone = rootlm.load(tmp_path / "hf").embed(["床前明月光", "ships"])
    assert (alone - rootlm.load(tmp_path / "next").embed(["床前明月光", "ships"], "last")).abs().max() < 1e-4
    ended = commands.run(
        "train", str(run.parent / "r.yaml"), f"out={tmp_path / 'pairs'}", f"init_from={run}",
        "objective.kind=masked", "objective.next_sentence=1", "training.max_steps=2",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "next_sentence_accuracy" in ended.err
    config = json.loads((tmp_path / "pairs" / "config.json").read_text())["model"]
    assert (config["heads"], config["pooler"]) == ({"next_sentence": 2}, "mean")


def test_stopped_and_gone_on_it_equals_never_stopped(commands, run, tmp_path):
    from test_laws_trainer import BRAKE, recorded, same_runs

    out = tmp_path / "again"
    words = ("train", str(run.parent / "r.yaml"), f"out={out}")
    commands.start(*words, brake=BRAKE).kill_when(lambda: recorded(out) >= 9)
    assert commands.run(*words).code == 0
    same_runs(run, out)
