"""The bidirectional encoder equals torch's, row by row, whatever the lengths; no direction crosses a border."""

import pytest
import torch
from torch import nn

from rootlm.layers.bidirectional import BidirectionalConfig

VOCABULARY, TIME = 30, 9
KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def encoder_of(cell, **settings):
    torch.manual_seed(0)
    config = BidirectionalConfig(cell=cell, depth=2, hidden_size=12, embedding_size=5, **settings)
    return config.build(VOCABULARY)


@pytest.mark.parametrize("cell", KINDS)
def test_it_equals_torch(cell):
    encoder = encoder_of(cell).eval()
    reference = KINDS[cell](5, 6, 2, bidirectional=True, batch_first=True)
    layers = [part for pair in zip(encoder.forwards, encoder.backwards, strict=True) for part in pair]
    with torch.no_grad():
        for own, others in zip(layers, reference.all_weights, strict=True):
            parts = (own.weight_input, own.weight_recurrent, own.bias_input, own.bias_recurrent)
            for part, other in zip(parts, others, strict=True):
                other.copy_(part.normal_(std=0.5))
    tokens = torch.randint(0, VOCABULARY, (3, TIME))
    lengths = torch.tensor([4, TIME, 0])
    found = encoder(tokens, lengths)
    torch.testing.assert_close(encoder(tokens), reference(encoder.embedding(tokens))[0])
    for row, size in enumerate(lengths.tolist()):
        if size:
            expected = reference(encoder.embedding(tokens[row : row + 1, :size]))[0][0]
            torch.testing.assert_close(found[row, :size], expected)
        assert not found[row, size:].any()


def test_neither_direction_crosses_a_border():
    encoder = encoder_of("gru").eval()
    tokens = torch.randint(0, VOCABULARY, (2, TIME))
    segments = torch.tensor([[0] * 4 + [1] * 5, [2] * 9])
    packed = encoder(tokens, segments=segments)
    torch.testing.assert_close(packed[0, :4], encoder(tokens[:1, :4])[0])
    torch.testing.assert_close(packed[0, 4:], encoder(tokens[:1, 4:])[0])
    torch.testing.assert_close(packed[1], encoder(tokens[1:])[0])


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_it_learns_to_label_with_what_comes_later(dtype):
    """The label of a token is whether the one after next is odd: nothing that was read before tells."""
    encoder = encoder_of("lstm", dropout=0.1)
    encoder.stream_dtype = dtype
    head = nn.Linear(12, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.02)
    for _ in range(80):
        tokens = torch.randint(0, 6, (32, TIME))
        labels = tokens[:, 2:] % 2
        values = head(encoder(tokens)[:, :-2].float())
        loss = nn.functional.cross_entropy(values.reshape(-1, 2), labels.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
