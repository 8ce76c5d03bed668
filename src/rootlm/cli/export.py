"""usage: rootlm export RUN --to FORMAT out=PATH [type=q8_0] [context=4096] [dtype=bfloat16] [base=PATH]

Writes a run as other libraries read it, and opens what it wrote again, by that library where it is installed: the ids
of a hundred texts and the logits on them are compared with the run's; if they differ, nothing is left and the verb
fails. Adapters are merged into the weights, but for `peft`.

  hf           a folder for transformers
  gguf         a folder for llama.cpp and Ollama: the file (type=f32, f16, bf16, q8_0 or q4_0), a Modelfile, a card
  ctranslate2  an encoder–decoder for CTranslate2, in float32; scores and greedy answers are compared
  peft         the adapters of an adapted run; base= says what PEFT shall put them on
  torch        the state dict of a recurrent run, under the names of torch.nn.LSTM, GRU or RNN, with its key map
  run          a run of rootlm's own whose adapters are in its weights
  arpa         n-grams; rootlm ngram arpa can do more
  word2vec     word vectors, in text or, where PATH ends in .bin, binary; rootlm vectors export can do more

  rootlm export runs/small --to hf out=small-hf
  rootlm export runs/portable --to gguf type=q8_0 out=portable-gguf
  rootlm export runs/zh_en_small --to ctranslate2 out=zh_en-ct2
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to write, and how."""

    run: str
    """A run, a folder of Hugging Face's or a GGUF file."""
    to: Literal["hf", "gguf", "ctranslate2", "peft", "torch", "run", "arpa", "word2vec"]
    """The format."""
    out: str
    """The folder or file to write."""
    type: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] = "f16"
    """gguf: how matrices are written; q8_0 has eight bits a weight, q4_0 four."""
    context: Annotated[int, Field(ge=1)] | None = None
    """gguf: the longest text that the file is for, where that is less than the run's, such as its window."""
    base: str | None = None
    """peft: what the adapters are for, where PEFT shall find it: a folder of Hugging Face's or a name of the hub."""
    dtype: Literal["keep", "float32", "bfloat16", "float16"] = "keep"
    """hf: the type of the weights; keep leaves them as they are."""
    shard_bytes: Annotated[int, Field(ge=1)] = 5_000_000_000
    """hf: the most bytes of weights in one file."""


def run(tokens: list[str]) -> None:
    """Write it and print what was compared."""
    settings, _ = parse(tokens, Settings, ["run"])
    writers = {"hf": _hf, "gguf": _gguf, "peft": _peft, "torch": _torch, "run": _run, "arpa": _arpa}
    (writers | {"word2vec": _word2vec, "ctranslate2": _ctranslate2})[settings.to](settings)


def _hf(settings: Settings) -> None:
    import torch

    from rootlm.runs.exported import export_hf

    dtype = None if settings.dtype == "keep" else getattr(torch, settings.dtype)
    out = Path(settings.out)
    found = export_hf(Path(settings.run), out, dtype=dtype, shard_bytes=settings.shard_bytes)
    print(f"{out}: {found.sentence}")


def _gguf(settings: Settings) -> None:
    from rootlm.models.foreign.gguf_quantising import KINDS
    from rootlm.runs.gguf_exported import export_gguf

    kind = next(kind for kind in KINDS if kind.lower() == settings.type)
    proven = export_gguf(Path(settings.run), Path(settings.out), kind, context=settings.context)
    print(f"{proven.file}: {proven.sentence}")


def _ctranslate2(settings: Settings) -> None:
    from rootlm.runs.ctranslate2_exported import export_ctranslate2

    found = export_ctranslate2(Path(settings.run), Path(settings.out))
    print(f"{settings.out}: {found.sentence}")


def _peft(settings: Settings) -> None:
    from rootlm.runs.adapter_folders import export_peft

    found = export_peft(Path(settings.run), Path(settings.out), base=settings.base)
    print(f"{settings.out}: {found.sentence}")


def _torch(settings: Settings) -> None:
    from rootlm.runs.recurrent_folders import export_torch

    found = export_torch(Path(settings.run), Path(settings.out))
    print(f"{settings.out}: {found.sentence}")


def _run(settings: Settings) -> None:
    from rootlm.runs.adapter_folders import export_merged

    export_merged(Path(settings.run), Path(settings.out))


def _arpa(settings: Settings) -> None:
    from rootlm.runs.classical_exported import export_ngrams
    from rootlm.runs.opened import load

    print(f"{settings.out}: {export_ngrams(load(Path(settings.run)), Path(settings.out))}")


def _word2vec(settings: Settings) -> None:
    from rootlm.runs.classical_exported import export_vectors
    from rootlm.runs.opened_vectors import note, vectors_of

    out = Path(settings.out)
    kind: Literal["binary", "text"] = "binary" if out.suffix == ".bin" else "text"
    print(f"{out}: {export_vectors(vectors_of(settings.run), out, note, kind)}")
