"""What everybody trains on: the shipped text as a corpus, a tokenizer per vocabulary, a recipe per shape."""

from __future__ import annotations

from pathlib import Path

from benchmarks.shapes import Shape
from rootlm import shipped
from rootlm.core import files
from rootlm.text.corpus import Corpus

FOLDER = Path(__file__).resolve().parent / "results" / "material"


def corpus() -> Corpus:
    """Return the corpus of the shipped text, made once."""
    from rootlm.text.prepare import prepare
    from rootlm.text.settings import Prepare
    from rootlm.text.sources import Source

    sources = [Source(path=str(one.path), name=one.name, licence=one.licence) for one in shipped.paths()]
    return prepare(Prepare(sources=sources), FOLDER / "corpus")


def tokenizer(vocabulary: int) -> Path:
    """Return the folder of the tokenizer with that many ids, trained once on the corpus."""
    folder = FOLDER / f"tokenizer-{vocabulary}"
    if not (folder / "tokenizer.json").exists():
        from rootlm.tokenizers.byte_pieces import BytePairs
        from rootlm.tokenizers.tokenizer_training import train

        texts = (document.text for document in corpus().documents("train"))
        train(BytePairs(vocab_size=vocabulary), texts).save(folder)
    return folder


def recipe(shape: Shape, name: str) -> Path:
    """Write the recipe of a shape: its sizes and its material; all else is rootlm's default."""
    file = FOLDER / f"{name}.yaml"
    lines = [
        f"corpus: {corpus().folder}",
        f"tokenizer: {tokenizer(shape.vocabulary)}",
        "model:",
        "  kind: decoder",
        "  preset: llama",
        f"  depth: {shape.layers}",
        f"  hidden_size: {shape.width}",
        f"  n_heads: {shape.heads}",
        f"  context: {shape.context}",
        f"  tied: {str(shape.tied).lower()}",
        "training:",
        f"  batch_size: {shape.batch}",
    ]
    files.write_text(file, "\n".join(lines) + "\n")
    return file
