"""Laws of texts: streamed equals whole, no torn character, next words sum up what they say."""

import itertools

import pytest
import tokenizers
import torch
from tokenizers import decoders
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from rootlm.generation.next_words import next_words
from rootlm.generation.sampling import Sampling
from rootlm.generation.stopping import Voice
from rootlm.generation.texts import Generation, Writer
from rootlm.tokenizers import tokenizer_training
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.tokenizer_files import Roles
from rootlm.tokenizers.unigram import Unigram
from rootlm.tokenizers.words import Words
from toys import Bigram, Lstm, byte_tokenizer

PROMPTS = ["床前明月光", "", "To be, or not", "a"]
POEMS = ["床前明月光，疑是地上霜。\n举头望明月，低头思故乡。", "the moon is bright, the frost is white. "] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def told(one):
    return one.prompt, one.text, one.tokens, one.finish_reason, one.seed


def chinese(tokenizer, ways):
    """Return a byte model that says one of some texts after a line end, and ends after 。"""
    table = torch.full((257, 257), -1e4)
    for text, weight in ways.items():
        way = [*tokenizer.encode("\n" + text), 0]
        for token, following in itertools.pairwise(way):
            share = torch.tensor(float(weight)).log()
            table[token, following] = torch.logaddexp(table[token, following], share)
    table[0, tokenizer.encode("\n")[0]] = 0
    return Bigram(table)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stop", [(), ("e", "\n"), ("光",), ("ab", "b")])
def test_streamed_equals_whole(tokenizer, seed, stop):
    writer = Writer(Lstm(257, seed=seed), tokenizer)
    sampling = Sampling(seed=seed, max_new_tokens=40, stop=stop)
    for prompt, (whole,) in zip(PROMPTS, writer.generate(PROMPTS, sampling), strict=True):
        *pieces, ending = writer.stream(prompt, sampling)
        assert told(ending) == told(whole)
        assert ending.logprobs == pytest.approx(whole.logprobs, abs=1e-5)
        assert "".join(pieces) == whole.text
        assert all(pieces)


def test_the_text_is_what_the_tokens_say(tokenizer):
    writer = Writer(Lstm(257), tokenizer)
    for (found,) in writer.generate(PROMPTS, Sampling(seed=1, max_new_tokens=30)):
        assert found.text == tokenizer.decode(found.tokens)
        assert found.seed == 1
        assert found.prompt in PROMPTS


def test_a_stop_string_ends_a_text_and_is_not_shown(tokenizer):
    model = chinese(tokenizer, {"甲aé。": 1})
    writer = Writer(model, tokenizer)
    for stop, text in {"é": "\n甲a", "aé": "\n甲", "\n": "", "丁": "\n甲aé。", "。丁": "\n甲aé。"}.items():
        ((found,),) = writer.generate([""], Sampling(temperature=0, stop=stop, max_new_tokens=20))
        assert (found.text, found.finish_reason) == (text, "stop")
        assert found.tokens[: len(tokenizer.encode(text))] == tuple(tokenizer.encode(text))
    ((found,),) = writer.generate([""], Sampling(num_beams=2, stop="é", max_new_tokens=20))
    assert (found.text, found.finish_reason) == ("\n甲a", "stop")


def test_a_character_never_appears_torn(tokenizer):
    writer = Writer(chinese(tokenizer, {"甲aé。": 1}), tokenizer)
    *pieces, ending = writer.stream("", Sampling(temperature=0))
    assert pieces == ["\n", "甲", "a", "é", "。"]
    assert isinstance(ending, Generation)
    assert ending.finish_reason == "stop"
    ((cut,),) = writer.generate([""], Sampling(temperature=0, max_new_tokens=3))
    assert cut.text == "\n\ufffd"


def test_many_prompts_keep_their_order(tokenizer):
    writer = Writer(Lstm(257), tokenizer)
    prompts = [f"{'x' * (number * 7 % 11)}{number}" for number in range(45)]
    sampling = Sampling(seed=3, n=2, max_new_tokens=5)
    together = writer.generate(prompts, sampling)
    assert [pair[0].prompt for pair in together] == prompts
    assert [[one.seed for one in pair] for pair in together] == [[3, 4]] * 45
    for prompt in (0, 17, 44):
        alone = writer.generate([prompts[prompt]], sampling)[0]
        assert [told(one) for one in alone] == [told(one) for one in together[prompt]]


def test_several_texts_cannot_be_streamed(tokenizer):
    with pytest.raises(ValueError, match="single text"):
        next(Writer(Lstm(257), tokenizer).stream("a", Sampling(n=2)))


def test_special_tokens_but_the_end_are_never_said(tokenizer):
    class Marked:
        special_ids = frozenset([0, 5, 6])

        def __getattr__(self, name):
            return getattr(tokenizer, name)

    table = torch.zeros(257, 257)
    table[:, [5, 6]] = 50
    ((found,),) = Writer(Bigram(table), Marked()).generate([""], Sampling(seed=0, max_new_tokens=200))
    assert not {5, 6} & set(found.tokens)


def word_pieces():
    """Return a tokenizer as published with BERT, whose decoder looks at neighbours: spaces, clean-up."""
    pieces = [
        "[CLS]",
        "[SEP]",
        "[PAD]",
        "[UNK]",
        "the",
        "moon",
        "is",
        "bright",
        "##er",
        "frost",
        ",",
        ".",
        "white",
    ]
    engine = tokenizers.Tokenizer(
        WordPiece({name: number for number, name in enumerate(pieces)}, unk_token="[UNK]")
    )
    engine.pre_tokenizer = BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.add_special_tokens(["[CLS]", "[SEP]", "[PAD]", "[UNK]"])
    return Tokenizer(engine.to_str(), Roles("[CLS]", "[SEP]", "[PAD]", "[UNK]"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: tokenizer_training.train(Unigram(vocab_size=275), POEMS),
        lambda: tokenizer_training.train(Words(vocab_size=400), POEMS),
        word_pieces,
    ],
    ids=["unigram", "word", "foreign wordpiece"],
)
def test_a_continuation_joins_its_prompt_as_decoding_the_whole_would(make):
    tokenizer = make()
    for text in (*POEMS[:2], "the moon, the frost"):
        ids = tokenizer.encode(text)
        for cut in range(1, len(ids)):
            voice = Voice(tokenizer, [tokenizer.bos_id, *ids[:cut]], ())
            said = "".join([voice.say(token) for token in ids[cut:]] + [voice.finish()])
            before = tokenizer.decode(ids[:cut])
            assert before.endswith("\ufffd") or before + said == tokenizer.decode(ids)


def test_next_words_are_whole_characters_with_their_probability(tokenizer):
    # Three characters share their first bytes; a bigram of bytes spells each of them.
    model = chinese(tokenizer, {"国": 6, "回": 3, "a": 1})
    words = next_words(model, tokenizer, "\n", k=3)
    assert [word.text for word in words] == ["国", "回", "a"]
    assert [word.probability for word in words] == pytest.approx([0.6, 0.3, 0.1], abs=1e-4)
    assert words[0].tokens == tuple(tokenizer.encode("国"))


def test_a_next_word_written_in_two_ways_has_the_probability_of_both():
    tokenizer = byte_tokenizer(merge=("Ã", "©"))
    (whole,), first, second = tokenizer.encode("é"), *byte_tokenizer().encode("é")
    table = torch.full((258, 258), -1e4)
    for token, share in {whole: 5.0, first: 3.0, tokenizer.encode("b")[0]: 2.0}.items():
        table[tokenizer.encode("a")[0], token] = torch.tensor(share).log()
    table[first, second] = 0
    words = next_words(Bigram(table), tokenizer, "a", k=2)
    assert [(word.text, word.tokens) for word in words] == [
        ("é", (whole,)),
        ("b", (tokenizer.encode("b")[0],)),
    ]
    assert [word.probability for word in words] == pytest.approx([0.8, 0.2], abs=1e-4)


def test_next_words_equal_the_models_distribution(tokenizer):
    model = Lstm(257, seed=4)
    logits = model(torch.tensor([[0, *tokenizer.encode("ab")]])).values[0, -1].detach()
    single = {
        tokenizer.decode([token]): share.item()
        for token, share in enumerate(logits.softmax(-1))
        if token and tokenizer.decode([token]) != "\ufffd"
    }
    found = next_words(model, tokenizer, "ab", k=40)
    assert [word.probability for word in found] == sorted((word.probability for word in found), reverse=True)
    for word in found:
        if len(word.tokens) == 1 and word.tokens[0] and not word.text.startswith("<0x"):
            assert word.probability == pytest.approx(single[word.text], rel=1e-4)
    assert sum(word.probability for word in found) <= 1 + 1e-5


def test_the_end_of_the_text_is_a_next_word(tokenizer):
    model = chinese(tokenizer, {"。": 1})
    (word,) = next_words(model, tokenizer, "。", k=1)
    assert (word.text, word.tokens) == ("<|endoftext|>", (0,))


def test_next_words_stop_at_a_full_context(tokenizer):
    model = Lstm(257, context=3)
    assert len(next_words(model, tokenizer, "ab", k=60)) == 60
    with pytest.raises(ValueError, match="at most 3"):
        next_words(model, tokenizer, "abc")
    with pytest.raises(ValueError, match="at least 1"):
        next_words(model, tokenizer, "a", k=0)
