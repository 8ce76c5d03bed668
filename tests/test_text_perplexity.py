"""A corpus is judged by a language model of the house: on the scale of bits per byte, the same however it is run."""

from pathlib import Path

import pytest
import torch

import rootlm
from rootlm.models.catalog import save_model
from rootlm.models.decoder import DecoderConfig
from rootlm.text.document import Document
from rootlm.text.prepare import prepare
from rootlm.text.settings import Prepare
from rootlm.text.steps.perplexity import Perplexity
from toys import byte_tokenizer

TEXTS = [f"{word} " * 12 for word in ("apple", "river", "stone", "grass", "cloud", "wheel")]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A model with random weights, which finds some texts stranger than others."""
    folder, tokenizer = tmp_path_factory.mktemp("runs") / "judge", byte_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DecoderConfig(depth=1, hidden_size=32, n_heads=2, context=128).build(tokenizer.vocab_size)
        with torch.no_grad():
            model.embedding.weight.mul_(30)
        save_model(model, folder)
    tokenizer.save(folder)
    return folder


def surprise(run: Path) -> list[float]:
    opened = rootlm.load(run, device="cpu", precision="float32")
    return [opened.evaluate([text]).bits_per_byte().value for text in TEXTS]


def test_the_limits_are_those_that_evaluation_gives(run):
    bits = surprise(run)
    middle = sorted(bits)[len(bits) // 2]
    assert min(bits) < middle < max(bits)
    low, high = (
        Perplexity(run=str(run), min_bits_per_byte=middle - 1e-4),
        Perplexity(run=str(run), max_bits_per_byte=middle + 1e-4),
    )
    for text, value in zip(TEXTS, bits, strict=True):
        document = Document(text, "made")
        assert (low.build()(document) is None) == (value >= middle)
        assert (high.build()(document) is None) == (value <= middle)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_corpus_keeps_what_the_model_knows(run, tmp_path, workers):
    bits = surprise(run)
    limit = sum(bits) / len(bits)
    (tmp_path / "raw.txt").write_text("\n\n".join(text.strip() for text in TEXTS))
    given = {
        "sources": [{"path": str(tmp_path / "raw.txt"), "split": "train"}],
        "read": {"documents": "paragraph"},
        "quality": None,
        "language": None,
        "perplexity": {"run": str(run), "max_bits_per_byte": limit},
        "workers": workers,
    }
    corpus = prepare(Prepare.model_validate(given), tmp_path / "corpus")
    step = next(row for row in corpus.manifest["steps"] if row["step"] == "perplexity")
    kept = {document.text for document in corpus.documents("train")}
    opened = rootlm.load(run, device="cpu", precision="float32")
    assert kept == {
        text.strip() for text in TEXTS if opened.evaluate([text.strip()]).bits_per_byte().value <= limit
    }
    assert step["dropped"] == {f"more than {limit:g} bits per byte": len(TEXTS) - len(kept)}
    assert str(run / "model.safetensors") in corpus.manifest["settings"]["lists"]


def test_limits_that_cannot_hold_are_refused(run, tmp_path):
    for limits, said in (
        ({}, "has no limit"),
        ({"min_bits_per_byte": 3, "max_bits_per_byte": 2}, "leaves nothing"),
    ):
        with pytest.raises(ValueError, match=said):
            Perplexity.model_validate({"run": str(run), **limits})
    with pytest.raises(ValueError, match="no such folder"):
        Perplexity(run=str(tmp_path / "none"), max_bits_per_byte=2).build()
