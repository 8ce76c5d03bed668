"""The laws of states that cannot be cut: whatever was read, rewound, chosen and joined, a row knows its own text."""

import random

import pytest
import torch

from members import CONFIGS, VOCABULARY, build
from rootlm.models.interface import Last
from rootlm.models.streaming import StreamingModel

STREAMING = [name for name in CONFIGS if isinstance(CONFIGS[name].build(2), StreamingModel)]
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=STREAMING)
def model(request):
    return build(request.param)


def check(model, state, texts):
    """What comes next is what a fresh reading of each row's own text says."""
    following = torch.randint(0, VOCABULARY, (len(texts), 2))
    values = model(following, state.select(torch.arange(len(texts)))).values
    for row, text in enumerate(texts):
        alone = model(torch.tensor([[*text, *following[row].tolist()]])).values[0, len(text) :]
        torch.testing.assert_close(values[row], alone, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_any_history_of_a_state_is_forgotten_but_for_its_text(model, seed):
    generator = random.Random(seed)
    torch.manual_seed(seed)
    texts, state = [[] for _ in range(3)], model.begin(3, capacity=2)
    for _ in range(25):
        what = generator.choice(["read", "read", "ragged", "one", "rewind", "rewind", "select", "join"])
        if what in ("read", "ragged", "one"):
            time = 1 if what == "one" else generator.randint(2, 7)
            tokens = torch.randint(0, VOCABULARY, (len(texts), time))
            sizes = [generator.randint(0, time) for _ in texts] if what == "ragged" else [time] * len(texts)
            lengths = torch.tensor(sizes) if what == "ragged" else None
            state = model(tokens, state, lengths=lengths, ask=Last(1)).state
            for text, row, size in zip(texts, tokens.tolist(), sizes, strict=True):
                text.extend(row[:size])
        elif what == "rewind":
            counts = [generator.choice([0, 0, 1, 2, len(text)]) for text in texts]
            counts = [min(count, len(text)) for count, text in zip(counts, texts, strict=True)]
            state = state.rewind(torch.tensor(counts))
            texts = [text[: len(text) - count] for count, text in zip(counts, texts, strict=True)]
        elif what == "select":
            rows = [generator.randrange(len(texts)) for _ in range(generator.randint(1, 4))]
            state, texts = state.select(torch.tensor(rows)), [list(texts[row]) for row in rows]
        elif len(texts) < 5:
            state, texts = state.join(model.begin(1)), [*texts, []]
        assert state.lengths.tolist() == [len(text) for text in texts]
        check(model, state, texts)


@torch.no_grad()
def test_rewinding_stays_within_the_segment(model):
    tokens = torch.randint(0, VOCABULARY, (1, 9))
    segments = torch.tensor([[4] * 5 + [5] * 4])
    state = model(tokens, model.begin(1), segments=segments).state
    back = state.select(torch.tensor([0])).rewind(torch.tensor([3]))
    following = torch.randint(0, VOCABULARY, (1, 3))
    values = model(following, back, segments=torch.tensor([[5, 5, 6]])).values
    torch.testing.assert_close(
        values[:, :2], model(torch.cat([tokens[:, 5:6], following[:, :2]], 1)).values[:, 1:], **CLOSE
    )
    torch.testing.assert_close(values[:, 2:], model(following[:, 2:]).values, **CLOSE)
    with pytest.raises(ValueError, match="further than the row has read since its segment began"):
        state.rewind(torch.tensor([5]))


def test_a_state_of_training_holds_no_text_and_no_graph(model):
    tokens = torch.randint(0, VOCABULARY, (2, 6))
    state = model(tokens, model.begin(2)).state
    held = state.tensors()
    assert not any(tensor.requires_grad for tensor in held.values())
    assert all(tensor.shape[0] == 2 for tensor in held.values())
    assert sum(t.numel() for t in held.values()) <= sum(t.numel() for t in model.begin(2).tensors().values())
    with pytest.raises(ValueError, match="cannot be rewound"):
        state.rewind(torch.tensor([1, 0]))
    assert state.rewind(torch.tensor([0, 0])).lengths.tolist() == [6, 6]
    again = model.begin(2).filled(held)
    with torch.no_grad():
        torch.testing.assert_close(
            model(tokens, again).values, model(torch.cat([tokens] * 2, 1)).values[:, 6:], **CLOSE
        )


def test_segments_of_another_shape_are_refused(model):
    with pytest.raises(ValueError, match=r"segments are \(2, 5\) and tokens \(2, 6\)"):
        model(torch.zeros(2, 6, dtype=torch.int64), segments=torch.zeros(2, 5, dtype=torch.int64))


@torch.no_grad()
def test_reading_in_bfloat16_stays_near(model):
    tokens = torch.randint(0, VOCABULARY, (3, 12))
    lengths = torch.tensor([12, 4, 7])
    exact = model(tokens, model.begin(3), lengths=lengths, ask=Last(1))
    exact = model(tokens[:, :1], exact.state).values
    model.to(torch.bfloat16)
    rounded = model(tokens, model.begin(3), lengths=lengths, ask=Last(1))
    rounded = model(tokens[:, :1], rounded.state.rewind(torch.tensor([0, 0, 0]))).values
    assert torch.nn.functional.cosine_similarity(rounded.float(), exact, dim=-1).min() > 0.98


@torch.no_grad()
def test_a_label_begins_a_segment_only_where_it_changes_what_a_row_was_told(model):
    torch.manual_seed(0)
    tokens = torch.randint(0, VOCABULARY, (2, 9))
    label = torch.full((2, 3), 7)
    state = model(tokens[:, :3], model.begin(2)).state
    state = model(tokens[:, 3:6], state, lengths=torch.tensor([3, 0]), segments=label).state
    unread = state.select(torch.tensor([1]))
    values = model(tokens[:1, 6:], state.select(torch.tensor([0])), segments=label[:1]).values
    torch.testing.assert_close(values, model(tokens[:1]).values[:, 6:], **CLOSE)
    alone = model(torch.cat([tokens[1:, :3], tokens[1:, 6:]], 1)).values[:, 3:]
    torch.testing.assert_close(model(tokens[1:, 6:], unread, segments=label[1:] + 1).values, alone, **CLOSE)


@torch.no_grad()
def test_a_row_rewound_in_a_segment_that_began_while_it_was_read_reads_that_segment_again(model):
    torch.manual_seed(0)
    tokens, following = torch.randint(0, VOCABULARY, (1, 12)), torch.randint(0, VOCABULARY, (1, 2))
    segments = torch.tensor([[4] * 3 + [5] * 9])
    state = model(tokens[:, :2], model.begin(1), segments=segments[:, :2]).state
    state = model(tokens[:, 2:], state, segments=segments[:, 2:]).state
    values = model(following, state.rewind(torch.tensor([1]))).values
    torch.testing.assert_close(
        values, model(torch.cat([tokens[:, 3:11], following], 1)).values[:, 8:], **CLOSE
    )
