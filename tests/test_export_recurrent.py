"""Recurrent models of torch's own modules come in by stated names and leave again: the same logits, gate by gate."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import rootlm
from rootlm.models.catalog import load_model, save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign.foreign_model import MadeTensors
from rootlm.models.foreign.torch_recurrent import GATES, RecurrentNames, read_recurrent, write_recurrent
from rootlm.models.recurrent import RecurrentConfig
from test_export_gguf import said
from test_published import Trap
from toys import byte_tokenizer

WORDS = ["<eos>", "<unk>", *(f"word{number}" for number in range(58)), "a\u2028b"]
TOKENS = torch.randint(0, len(WORDS), (3, 17), generator=torch.Generator().manual_seed(1))
MODULES = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Reference(nn.Module):
    """A language model as PyTorch's word_language_model example builds it, every parameter at random."""

    def __init__(self, cell, *, tied=False, bias=True, width=24, layers=2):
        super().__init__()
        torch.manual_seed(2)
        self.encoder = nn.Embedding(len(WORDS), width)
        self.rnn = MODULES[cell](width, 24, layers, bias=bias, batch_first=True)
        self.decoder = nn.Linear(24, len(WORDS), bias=bias)
        for name, parameter in self.named_parameters():
            # Small enough that a network with tanh forgets how its sums were rounded.
            nn.init.normal_(parameter, std=0.2 if "weight_hh" in name else 1.0)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, ids):
        with torch.no_grad():
            return self.decoder(self.rnn(self.encoder(ids))[0])


CASES = {
    **{cell: (cell, {}) for cell in MODULES},
    "lstm tied": ("lstm", {"tied": True}),
    "gru without biases": ("gru", {"bias": False}),
    "lstm on a narrow table": ("lstm", {"width": 10, "layers": 3}),
}


@pytest.fixture
def words(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("\n".join(WORDS) + "\n")
    return file


@pytest.mark.parametrize("name", CASES)
def test_a_state_dict_comes_in_and_leaves_with_the_same_logits(name, words, tmp_path, capsys):
    cell, settings = CASES[name]
    theirs = Reference(cell, **settings)
    expected = theirs(TOKENS)
    assert expected.std() > 1
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    code, text = said(
        capsys, "import", tmp_path / "model.pt", f"tokenizer={words}", f"out={tmp_path / 'run'}"
    )
    assert code == 0, text
    model = load_model(tmp_path / "run")
    assert (model.config.cell, model.config.tied) == (cell, settings.get("tied", False))
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS).values, expected, rtol=0, atol=1e-5)
        state, last = model.begin(3), None
        for token in TOKENS.T:
            last, state, *_ = model(token[:, None], state)
        torch.testing.assert_close(last[:, 0], expected[:, -1], rtol=0, atol=1e-5)
    code, text = said(capsys, "export", tmp_path / "run", "--to", "torch", f"out={tmp_path / 'out'}")
    assert code == 0, text
    assert f"torch.nn.{MODULES[cell].__name__} of torch" in text
    again = Reference(cell, **settings | {"bias": True})
    again.load_state_dict(load_file(tmp_path / "out" / "model.safetensors"))
    torch.testing.assert_close(again(TOKENS), expected, rtol=0, atol=1e-5)
    assert said(capsys, "import", tmp_path / "out", f"out={tmp_path / 'back'}")[0] == 0
    for one, other in zip(model.parameters(), load_model(tmp_path / "back").parameters(), strict=True):
        assert torch.equal(one, other)


def test_words_between_spaces_are_read_by_their_ids(words, tmp_path, capsys):
    save_file(Reference("lstm").state_dict(), tmp_path / "model.safetensors")
    code, text = said(
        capsys, "import", tmp_path / "model.safetensors", f"tokenizer={words}", f"out={tmp_path / 'run'}"
    )
    assert code == 0, text
    opened = rootlm.load(tmp_path / "run")
    assert opened.tokenizer.encode("word3 nothing word0 word0") == [5, 1, 2, 2]
    assert (opened.tokenizer.bos_id, opened.tokenizer.eos_id) == (0, 0)
    ((one,),) = opened.generations("word3", temperature=0, max_new_tokens=5)
    ids = [0, 5]
    for _ in one.tokens:
        ids.append(int(Reference("lstm")(torch.tensor([ids]))[0, -1].argmax()))
    assert list(one.tokens) == ids[2:]
    code, text = said(capsys, "score", tmp_path / "run", "word3 word4")
    assert code == 0, text


def test_names_and_the_order_of_gates_can_be_stated(words, tmp_path, capsys):
    """As in a file of another maker, whose gates stand i o f g and whose layers are modules of their own."""
    theirs = Reference("lstm")
    order = [GATES["lstm"].index(gate) for gate in "iofg"]
    held = {}
    for name, tensor in theirs.state_dict().items():
        if name.startswith("rnn."):
            kind, layer = name.removeprefix("rnn.").rsplit("_l", 1)
            held[f"cells.{layer}.{kind}"] = torch.cat([tensor.chunk(4)[place] for place in order])
        else:
            held[name.replace("encoder", "table").replace("decoder", "out")] = tensor.clone()
    torch.save({"state_dict": held}, tmp_path / "model.pt")
    (tmp_path / "map.yaml").write_text(
        "embedding: table.weight\nhead: out.weight\nhead_bias: out.bias\ngates: [i, o, f, g]\n"
        + "".join(
            f"{ours}: cells.{{layer}}.{ours}\n" for ours in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
    )
    given = (f"tokenizer={words}", f"key_map={tmp_path / 'map.yaml'}", f"out={tmp_path / 'run'}")
    code, text = said(capsys, "import", tmp_path / "model.pt", *given)
    assert code == 0, text
    model = load_model(tmp_path / "run")
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS).values, theirs(TOKENS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_writing_and_reading_is_nothing_whatever_the_order(cell):
    config = RecurrentConfig(cell=cell, depth=2, hidden_size=6, tied=False)
    model = config.build(11)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    held = {name: parameter.data for name, parameter in model.named_parameters()}
    names = RecurrentNames(gates=[*GATES[cell][1:], GATES[cell][0]])
    written = {one.name: one.make() for one in write_recurrent(config.resolved(), held, names)}
    plain = {one.name: one.make() for one in write_recurrent(config.resolved(), held, RecurrentNames())}
    assert not torch.equal(written["rnn.bias_ih_l1"], plain["rnn.bias_ih_l1"])
    found, vocab_size, back = read_recurrent(MadeTensors.of(written), names)
    assert (found.resolved(), vocab_size) == (config.resolved(), 11)
    assert {one.name for one in back} == held.keys()
    for one in back:
        assert torch.equal(one.make(), held[one.name]), one.name


def changed(cell="lstm", **tensors):
    held = dict(Reference(cell).state_dict())
    for name, tensor in tensors.items():
        if tensor is None:
            del held[name]
        else:
            held[name] = tensor
    return held


def whole(module):
    return {f"rnn.{name}": tensor for name, tensor in module.state_dict().items()} | {
        "encoder.weight": torch.ones(61, 24),
        "decoder.weight": torch.ones(61, 48),
        "decoder.bias": torch.ones(61),
    }


WRONG = {
    "it reads both ways": (
        lambda: whole(nn.LSTM(24, 24, bidirectional=True)),
        "rnn.weight_ih_l0_reverse is of a bidirectional network",
    ),
    "it has projections": (lambda: whole(nn.LSTM(24, 24, proj_size=9)), "rnn.weight_hr_l0 is a projection"),
    "a layer is missing": (lambda: changed(**{"rnn.weight_ih_l1": None}), "holds no rnn.weight_ih_l1"),
    "one bias is missing": (lambda: changed(**{"rnn.bias_hh_l0": None}), "holds no rnn.bias_hh_l0"),
    "a layer is misshapen": (
        lambda: changed(**{"rnn.weight_hh_l1": torch.ones(96, 23)}),
        "rnn.weight_hh_l1 is (96, 23), the other layers ask for (96, 24)",
    ),
    "a tensor is left over": (
        lambda: changed(**{"norm.weight": torch.ones(3)}),
        "holds norm.weight, which rootlm has no place for",
    ),
    "the names are others": (
        lambda: {"a.weight": torch.ones(2, 2)},
        "holds no matrix encoder.weight; it holds a",
    ),
    "no cell has so many gates": (
        lambda: changed(**{"rnn.weight_hh_l0": torch.ones(48, 24)}),
        "the gates of no cell that is known",
    ),
    "there is no head": (
        lambda: changed(**{"decoder.weight": None, "encoder.weight": torch.ones(61, 10)}),
        "holds no head, and its embedding is 10 wide",
    ),
    "the table is smaller than the list": (
        lambda: (
            changed(**{name: torch.ones(9, 24) for name in ("encoder.weight", "decoder.weight")})
            | {"decoder.bias": torch.ones(9)}
        ),
        "its table has 9 rows, the tokenizer 61 tokens",
    ),
    "it is no tensor": (lambda: {"encoder.weight": 3}, "encoder.weight is no tensor"),
    "it holds a program": (lambda: Reference("lstm"), "save its state_dict() where it was made"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_refused_in_one_line(name, words, tmp_path, capsys):
    make, expected = WRONG[name]
    torch.save(make(), tmp_path / "model.pt")
    code, text = said(
        capsys, "import", tmp_path / "model.pt", f"tokenizer={words}", f"out={tmp_path / 'run'}"
    )
    assert code == 2, text
    assert expected in text
    assert not (tmp_path / "run").exists()


def test_nothing_in_a_file_is_run(words, tmp_path, capsys):
    torch.save({"encoder.weight": Trap(str(tmp_path / "ran"))}, tmp_path / "model.pt")
    assert (
        said(capsys, "import", tmp_path / "model.pt", f"tokenizer={words}", f"out={tmp_path / 'run'}")[0] == 2
    )
    assert not (tmp_path / "ran").exists()


LISTS = {
    "a\nb": "no word ends a text; one of <eos>",
    "<eos>\na": "no word stands for words that are not in it; one of <unk>",
    "<eos>\n<unk>\na\na": "words.txt:4: 'a' was given before, in line 3",
    "<eos>\n\n<unk>": "words.txt:2: '' is empty",
}


@pytest.mark.parametrize("content", LISTS, ids=repr)
def test_a_list_of_words_that_is_wrong_is_refused(content, words, tmp_path, capsys):
    torch.save(Reference("gru").state_dict(), tmp_path / "model.pt")
    words.write_text(content)
    code, text = said(
        capsys, "import", tmp_path / "model.pt", f"tokenizer={words}", f"out={tmp_path / 'run'}"
    )
    assert code == 2, text
    assert LISTS[content] in text


def test_a_vocabulary_and_fitting_names_are_asked_for(words, tmp_path, capsys):
    torch.save(Reference("gru").state_dict(), tmp_path / "model.pt")
    code, text = said(capsys, "import", tmp_path / "model.pt", f"out={tmp_path / 'run'}")
    assert (code, "set tokenizer= to a tokenizer, or to a text file" in text) == (2, True)
    for content, expected in (
        ("embeding: table.weight", "map.yaml:1: unknown key embeding; did you mean embedding"),
        ("cell: lstm", "a gru; the key map says lstm"),
        ("gates: [r, z]", "the gates of gru are r, z, n, each once"),
    ):
        (tmp_path / "map.yaml").write_text(content)
        given = (f"tokenizer={words}", f"key_map={tmp_path / 'map.yaml'}", f"out={tmp_path / 'run'}")
        code, text = said(capsys, "import", tmp_path / "model.pt", *given)
        assert code == 2, text
        assert expected in text


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            RecurrentConfig(hidden_size=16, layer_norm=True),
            "model.layer_norm=true: torch.nn.LSTM has no such thing",
        ),
        (RecurrentConfig(hidden_size=16, residual=True), "model.residual=true"),
        (RecurrentConfig(hidden_size=16, embedding_size=8), "the last layer, 8 wide"),
        (DecoderConfig(depth=1, hidden_size=32), "holds a decoder; torch takes recurrent runs"),
    ],
    ids=["norm", "residual", "narrow", "decoder"],
)
def test_what_torch_has_no_module_for_is_refused(config, expected, tmp_path, capsys):
    tokenizer = byte_tokenizer()
    save_model(config.build(tokenizer.vocab_size), tmp_path / "run")
    tokenizer.save(tmp_path / "run")
    code, text = said(capsys, "export", tmp_path / "run", "--to", "torch", f"out={tmp_path / 'out'}")
    assert code == 2, text
    assert expected in text
    assert not (tmp_path / "out").exists()
