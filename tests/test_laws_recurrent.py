"""The laws of recurrent layers: every kernel computes what the readable cell says, for rows of any lengths."""

import pytest
import torch
from torch import nn

from rootlm.layers.cells import CELLS
from rootlm.layers.lstm_scan import lstm_scan
from rootlm.layers.recurrent_layer import Recurrent
from rootlm.layers.steps import Steps
from rootlm.layers.variational import locked, without_words

WIDTH, HIDDEN, ROWS, TIME = 5, 7, 4, 6
TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
SIZES = {"equal": None, "ragged": torch.tensor([3, 6, 1, 6])}


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


@pytest.fixture(params=SIZES)
def sizes(request):
    return SIZES[request.param]


def layer_of(cell):
    torch.manual_seed(3)
    layer = Recurrent(cell, WIDTH, HIDDEN)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def material(cell):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(ROWS, TIME, WIDTH, generator=generator)
    memory = tuple(torch.randn(ROWS, HIDDEN, generator=generator) for _ in range(CELLS[cell].memories))
    return x, memory


def plainly(layer, x, memory, sizes):
    """Every row by itself with the readable cell."""
    hidden, ends = torch.zeros(ROWS, TIME, HIDDEN), []
    for row in range(ROWS):
        size = TIME if sizes is None else int(sizes[row])
        held = tuple(part[row : row + 1] for part in memory)
        given, end = layer.plainly(x[row : row + 1, :size].transpose(0, 1), held)
        hidden[row, :size] = given[:, 0]
        ends.append(end)
    return hidden, tuple(torch.cat(parts) for parts in zip(*ends, strict=True))


def gradients(layer, x, hidden, memory):
    generator = torch.Generator().manual_seed(5)
    wanted = [hidden, *memory]
    loss = sum((part.float() * torch.randn(part.shape, generator=generator)).sum() for part in wanted)
    return torch.autograd.grad(loss, [x, *layer.parameters()], retain_graph=True)


def test_the_fused_kernel_equals_the_readable_cell(cell, sizes):
    layer, (x, memory) = layer_of(cell), material(cell)
    x.requires_grad_()
    steps = Steps.of(ROWS, TIME, sizes, x.device)
    hidden, ends = layer(steps.pack(x), steps, tuple(map(steps.sort, memory)))
    given = (steps.unpack(hidden, TIME), tuple(map(steps.restore, ends)))
    expected = plainly(layer, x, memory, sizes)
    torch.testing.assert_close(given, expected)
    torch.testing.assert_close(gradients(layer, x, *given), gradients(layer, x, *expected))


def test_the_scan_equals_the_readable_cell(sizes):
    layer, (x, memory) = layer_of("lstm"), material("lstm")
    x.requires_grad_()
    memory = tuple(part.requires_grad_() for part in memory)
    steps = Steps.of(ROWS, TIME, sizes, x.device)
    held = tuple(map(steps.sort, memory))
    bias = layer.bias_input + layer.bias_recurrent
    weights = (layer.weight_input, layer.weight_recurrent)
    hidden, ends = lstm_scan(steps.pack(x), steps.counts, held, weights, bias)
    given = (steps.unpack(hidden, TIME), tuple(map(steps.restore, ends)))
    expected = plainly(layer, x, memory, sizes)
    torch.testing.assert_close(given, expected)
    torch.testing.assert_close(gradients(layer, x, *given), gradients(layer, x, *expected))
    loss = [sum((part**2).sum() for part in (found[0], *found[1])) for found in (given, expected)]
    torch.testing.assert_close(torch.autograd.grad(loss[0], memory), torch.autograd.grad(loss[1], memory))


def test_the_scan_in_bfloat16_stays_near_float32(sizes):
    layer, (x, memory) = layer_of("lstm"), material("lstm")
    steps = Steps.of(ROWS, TIME, sizes, x.device)
    held = tuple(map(steps.sort, memory))
    exact, _ = layer(steps.pack(x), steps, held)
    rounded, ends = layer(steps.pack(x).bfloat16(), steps, held)
    assert rounded.dtype == torch.bfloat16 and ends[1].dtype == torch.float32
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


def test_weights_stand_in_the_order_that_torch_gives_them(cell):
    layer, (x, memory) = layer_of(cell), material(cell)
    reference = TORCH[cell](WIDTH, HIDDEN, batch_first=True)
    parts = (layer.weight_input, layer.weight_recurrent, layer.bias_input, layer.bias_recurrent)
    with torch.no_grad():
        for own, other in zip(parts, reference.all_weights[0], strict=True):
            other.copy_(own)
    stacked = tuple(part[None] for part in memory)
    hidden, ends = reference(x, stacked if cell == "lstm" else stacked[0])
    found, held = layer.plainly(x.transpose(0, 1), memory)
    torch.testing.assert_close(found.transpose(0, 1), hidden)
    torch.testing.assert_close(held, tuple(part[0] for part in (ends if cell == "lstm" else (ends,))))


def test_dropout_is_the_same_through_time_and_for_a_word_wherever_it_stands(sizes):
    torch.manual_seed(0)
    steps = Steps.of(ROWS, TIME, sizes, torch.device("cpu"))
    dropped = steps.unpack(locked(torch.ones(len(steps.row_of), 400), 0.25, steps), TIME)
    for row in range(ROWS):
        size = TIME if sizes is None else int(steps.sort(sizes)[row])
        own = dropped[steps.order[row] if steps.order is not None else row, :size]
        assert (own == own[:1]).all()
        assert 0.15 < (own[0] == 0).float().mean() < 0.35
    assert dropped[0, 0].ne(dropped[1, 0]).any()
    assert abs(float(dropped[dropped > 0].mean()) - 4 / 3) < 1e-5
    ids = torch.randint(0, 9, (200,))
    words = without_words(torch.ones(200, 3), ids, 0.5, 9)
    for word in ids.unique():
        assert len(words[ids == word].unique()) == 1
    assert 0 < (words == 0).float().mean() < 1


def test_connections_are_dropped_in_training_only():
    layer, (x, memory) = layer_of("lstm"), material("lstm")
    layer.weight_dropout = 0.5
    steps = Steps.of(ROWS, TIME, None, x.device)
    torch.manual_seed(1)
    one, other = (layer(steps.pack(x), steps, memory)[0] for _ in range(2))
    assert not torch.equal(one, other)
    layer.eval()
    torch.testing.assert_close(
        layer(steps.pack(x), steps, memory)[0], steps.pack(plainly(layer, x, memory, None)[0])
    )
