"""A Llama of 135 million weights beside transformers and llama.cpp: python -m benchmarks.published [cores=0,1]

The network has the shape of SmolLM-135M and random weights, in bfloat16, written as a Hugging Face folder and as GGUF
files. Here its weights are read as they are stored, in int8 and in int4. Everybody opens it in a process of its own,
on the same two cores with two threads, in turns, and continues a prompt of sixteen tokens greedily, one stream.
transformers takes its growing or its static cache, whichever is faster here. Opening and the first token are timed
from the start of the process; decoding is timed warm. The share of the memory limit is the weights' bytes × tokens a
second over how fast the same process reads memory.

Peers: make test installs transformers and xllamacpp.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from pydantic import Field

from benchmarks import contest
from benchmarks.contest import Contest, Contestant, Figure, compared, median
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config

OURS, PEER = "rootlm", "transformers"
GGUF = {"stored": "F16", "int8": "Q8_0", "int4": "Q4_0"}
"""Our weights, and what llama.cpp is given beside them."""
PROMPT = "The sea is wide and the ships are small; to be, or not to be?"
RATE, FIRST = "tokens_per_second", "seconds_to_first_token"


class Settings(Config):
    cores: str = "0,1"
    """The cores that everybody is pinned to."""
    rounds: int = Field(3, gt=0)
    """How often everybody runs, in turns."""
    tokens: int = Field(96, gt=1)
    """How many tokens are decoded for each timing."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""
    side: str = ""
    """For a process of one side: rootlm-stored, -int8, -int4, transformers-growing, -static or llama.cpp."""
    model: str = ""
    """For a process of one side: the folder or file it opens."""


def write(folder: Path) -> None:
    """Write the network as a folder, and as GGUF files beside its weights."""
    import torch

    from rootlm.models.catalog import weights
    from rootlm.models.decoder import DecoderConfig
    from rootlm.models.foreign.foreign_model import ForeignModel
    from rootlm.models.foreign.gguf_model import write_gguf
    from rootlm.models.foreign.hugging_face_folder import open_folder, write_folder

    torch.manual_seed(0)
    config = DecoderConfig.model_validate(
        {
            "preset": "llama",
            "depth": 30,
            "hidden_size": 576,
            "n_heads": 9,
            "n_kv_heads": 3,
            "context": 2048,
            "feedforward": {"kind": "swiglu", "size": 1536},
            "tied": True,
        }
    )
    model = config.build(49_152).to(torch.bfloat16)
    marks = {"bos_token_id": 0, "eos_token_id": 0}
    write_folder(folder, config, 49_152, weights(model), more=marks)
    tokenizer(folder)
    published = open_folder(folder)
    described = json.loads((folder / "config.json").read_text())
    text = (folder / "tokenizer.json").read_text()
    for kind in GGUF.values():
        write_gguf(
            folder / f"{kind}.gguf", ForeignModel(described, published.tensors, tokenizer_json=text), kind
        )


def tokenizer(folder: Path) -> None:
    """Write a byte-level tokenizer with an entry for every row."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    end = "<|endoftext|>"
    entries = dict.fromkeys([end, *letters])
    merges = [(a, b) for a in letters for b in letters][: 49_152 - len(entries)]
    entries |= dict.fromkeys(a + b for a, b in merges)
    engine = Tokenizer(models.BPE({name: number for number, name in enumerate(entries)}, merges))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([end])
    named = transformers.PreTrainedTokenizerFast(tokenizer_object=engine, bos_token=end, eos_token=end)
    named.save_pretrained(folder)


def side(settings: Settings) -> dict[str, float]:
    """Do one side's work once."""
    born = psutil.Process().create_time()
    if settings.side == "llama.cpp":
        return llama(settings, born)
    return ours(settings, born) if settings.side.startswith(OURS) else theirs(settings, born)


def ours(settings: Settings, born: float) -> dict[str, float]:
    """Decode with rootlm; a folder is a run."""
    import rootlm

    load = rootlm.load
    import torch

    before = psutil.Process().memory_info().rss
    run = load(settings.model, device="cpu", precision="bfloat16", weights=settings.side.split("-")[1])
    grown = psutil.Process().memory_info().rss - before
    torch.set_num_threads(2)

    def say(count: int) -> float:
        started = time.perf_counter()
        (said,) = run.generations(PROMPT, max_new_tokens=count, temperature=0)[0]
        assert len(said.tokens) == count, "a random network ended its text; take another seed"
        return time.perf_counter() - started

    say(1)
    first = time.time() - born
    say(8)
    alone, many = say(1), say(settings.tokens + 1)
    return {
        RATE: settings.tokens / (many - alone),
        FIRST: first,
        "megabytes_grown": grown / 1e6,
        "gigabytes_read_per_second": reading(),
    }


def theirs(settings: Settings, born: float) -> dict[str, float]:
    """Decode with transformers."""
    import torch
    import transformers

    torch.set_num_threads(2)
    before = psutil.Process().memory_info().rss
    model = transformers.AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.bfloat16).eval()
    grown = psutil.Process().memory_info().rss - before
    names = transformers.AutoTokenizer.from_pretrained(settings.model)
    given = names(PROMPT, return_tensors="pt")
    more: dict[str, Any] = {"cache_implementation": "static"} if settings.side.endswith("static") else {}

    @torch.inference_mode()
    def say(count: int) -> float:
        started = time.perf_counter()
        model.generate(**given, max_new_tokens=count, min_new_tokens=count, do_sample=False, **more)
        return time.perf_counter() - started

    say(1)
    first = time.time() - born
    say(8)
    alone, many = say(1), say(settings.tokens + 1)
    return {RATE: settings.tokens / (many - alone), FIRST: first, "megabytes_grown": grown / 1e6}


def llama(settings: Settings, born: float) -> dict[str, float]:
    """Decode with llama.cpp, its own clock."""
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path = settings.model
    asked.n_ctx, asked.n_parallel, asked.port, asked.verbosity = 512, 1, 0, 1
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(asked)

    def say(count: int) -> dict[str, Any]:
        words = {
            "prompt": PROMPT,
            "n_predict": count,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        return dict(server.handle_completions(words))

    say(1)
    first = time.time() - born
    say(8)
    timed = say(settings.tokens)["timings"]
    return {RATE: float(timed["predicted_per_second"]), FIRST: first}


def reading() -> float:
    """Return how fast two threads read memory, in gigabytes a second: the best of five."""
    import torch

    large, best = torch.ones(1 << 26, dtype=torch.int64), 0.0
    for _ in range(5):
        started = time.perf_counter()
        large.sum()
        best = max(best, large.nbytes / (time.perf_counter() - started) / 1e9)
    return best


def figures(settings: Settings, folder: Path) -> list[Figure]:
    """Measure everybody."""
    game = Contest(settings.cores, settings.rounds)
    threads = {"OMP_NUM_THREADS": "2"}

    def one(name: str, kind: str, model: Path) -> Contestant:
        words = (f"side={kind}", f"model={model}", f"tokens={settings.tokens}")
        return Contestant(name, ("benchmarks.published", *words), threads)

    peers = [one(f"{PEER}-{cache}", f"{PEER}-{cache}", folder) for cache in ("growing", "static")]
    peer = game.best_of(peers, RATE)
    names = {kind: f"llama.cpp {kind}" for kind in GGUF.values()}
    outside = [one(name, "llama.cpp", folder / f"{kind}.gguf") for kind, name in names.items()]
    found = game.play([*(one(f"{OURS}-{held}", f"{OURS}-{held}", folder) for held in GGUF), peer, *outside])
    mine = found[f"{OURS}-stored"]
    whole = (folder / "model.safetensors").stat().st_size
    sizes = {held: (folder / f"{kind}.gguf").stat().st_size for held, kind in GGUF.items()}
    busy = max(run["others_busy"] for runs in found.values() for run in runs)
    made = []
    for held, goal in (("stored", ">= 2"), ("int8", ">= 3"), ("int4", None)):
        runs = found[f"{OURS}-{held}"]
        rate, what = median(runs, RATE), f"135M Llama, one stream, {'bf16' if held == 'stored' else held}"
        limit = median(runs, "gigabytes_read_per_second") * 1e9 / sizes[held]
        more: dict[str, Any] = {"share_of_memory_limit": rate / limit, "others_busy": busy}
        theirs, outer = f"{peer.name}, bf16", names[GGUF[held]]
        made += [
            compared(what, "tokens/s", rate, theirs, median(found[peer.name], RATE), goal, **more),
            compared(what, "tokens/s", rate, outer, median(found[outer], RATE), ">= 0.8", **more),
        ]
    first, grown = median(mine, FIRST), median(mine, "megabytes_grown") * 1e6 / whole
    theirs_first = median(found[peer.name], FIRST)
    return [
        *made,
        compared("135M Llama, one stream, first token", "s", first, peer.name, theirs_first, "<= 0.5"),
        Figure(
            "135M Llama, memory grown by opening, of its weights",
            grown,
            "×",
            goal="<= 1.15",
            met=grown <= 1.15,
        ),
    ]


def main(settings: Settings) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="rootlm-published-") as place:
        folder = Path(place)
        write(folder)
        return figures(settings, folder)


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(
            help_text(
                "python -m benchmarks.published",
                "a published decoder beside the peers",
                Settings,
                __doc__ or "",
            )
        )
        sys.exit()
    chosen, _ = parse(sys.argv[1:], Settings)
    if chosen.side:
        print(json.dumps(side(chosen)))
        sys.exit()
    measured = main(chosen)
    contest.write(
        measured, Path(chosen.out) if chosen.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    )
    print(contest.table(measured))
