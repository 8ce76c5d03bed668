"""Everything that is measured on a GPU, in one call: python -m benchmarks.gpu [quick=true] [out=FILE]

Training tokens per second and share of peak at 124M and 350M parameters, decoding with one stream and with 16
at 124M, each against `transformers` with its own best settings; the contestants are those of the CPU figures.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import contest
from benchmarks.contest import Contest, Figure, compared, median, spread
from benchmarks.figures import OURS, PEER, RATE, variants
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config

_DEVICE = "device=cuda"
_COMPILED = {
    OURS: ("more=[training.compile=false]", "more=[training.compile=true]"),
    PEER: ("compile=none", "compile=default"),
}
_DECODING = ("cache=dynamic", "cache=static", "cache=static compile=default")


class Settings(Config):
    quick: bool = False
    """Three rounds instead of five, at 124M only."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/gpu-DATE.jsonl."""


def training(game: Contest, shape: str) -> list[Figure]:
    """Tokens per second after warm-up and the share of the GPU's peak, each side with its best settings."""
    words = (f"shape={shape}", _DEVICE)
    chosen = {}
    for who, choices in _COMPILED.items():
        quick = {"steps": 40, "skip": 20} if who == OURS else {"seconds": 6}
        players = variants(who, "train", choices, *words, waiting=({},))
        chosen[who] = game.best_of(players, RATE, peak=False, **quick)
    found = game.play(list(chosen.values()))
    runs = {who: found[one.name] for who, one in chosen.items()}
    rates = {who: median(one, RATE) for who, one in runs.items()}
    shares = {who: median(one, "share_of_peak") for who, one in runs.items()}
    detail = {
        "spread": {who: spread(one, RATE) for who, one in runs.items()},
        "settings": {who: one.name for who, one in chosen.items()},
        "peak_flops": {who: median(one, "peak_flops") for who, one in runs.items()},
    }
    return [
        compared(f"GPU training {shape}", "tokens/s", rates[OURS], PEER, rates[PEER], None, **detail),
        compared(f"GPU share of peak {shape}", "of peak", shares[OURS], PEER, shares[PEER], None),
    ]


def decoding(game: Contest, streams: int) -> list[Figure]:
    """Greedy tokens per second in bfloat16 at 124M."""
    words = ("shape=124M", _DEVICE, f"streams={streams}")
    peer = game.best_of(variants(PEER, "decode", _DECODING, *words, waiting=({},)), RATE, seconds=4)
    own = variants(OURS, "decode", ("",), *words)[0]
    found = game.play([own, peer])
    rates = {name: median(runs, RATE) for name, runs in found.items()}
    name = f"GPU decoding 124M, {streams} stream{'s' if streams > 1 else ''}"
    return [compared(name, "tokens/s", rates[own.name], PEER, rates[peer.name], None, settings=peer.name)]


def main(tokens: list[str]) -> int:
    if "--help" in tokens or "-h" in tokens:
        print(
            help_text(
                "python -m benchmarks.gpu", "speed on a GPU beside transformers", Settings, __doc__ or ""
            )
        )
        return 0
    settings, _ = parse(tokens, Settings)
    import torch

    if not torch.cuda.is_available():
        raise ValueError("no CUDA device here; python -m benchmarks measures on the CPU")
    game = Contest("", rounds=3 if settings.quick else 5)
    file = Path(settings.out) if settings.out else contest.RESULTS / time.strftime("gpu-%Y-%m-%d.jsonl")
    print(torch.cuda.get_device_name())
    found: list[Figure] = []
    for shape in ("124M",) if settings.quick else ("124M", "350M"):
        found += training(game, shape)
    for streams in (1, 16):
        found += decoding(game, streams)
    contest.write(found, file)
    print("\n" + contest.table(found) + f"\n\n{file}: {len(found)} figures")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        sys.exit(2)
