"""llama.cpp, asked about a GGUF file through `xllamacpp`, in a process of its own.

Only a process can be ended whatever it does: a file that llama.cpp takes offence at stops the one that opened it,
and closing its server under load was seen to wait for ever.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SERVER = """
import sys
import xllamacpp
asked = xllamacpp.CommonParams()
asked.model.path = sys.argv[1]
asked.n_ctx, asked.n_parallel, asked.port, asked.verbosity, asked.warmup = int(sys.argv[2]), 1, 0, 1, False
asked.use_jinja = True
asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = int(sys.argv[3])
asked.cache_type_k = asked.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
asked.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(asked)
print("at", server.listening_address, flush=True)
sys.stdin.read()
"""
_SECONDS = 600


def is_installed() -> bool:
    """Tell whether llama.cpp can be asked."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """A file that llama.cpp has opened, remembering keys and values in float32."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ids(self, text: str, *, marks: bool = False, special: bool = False) -> list[int]:
        """Return the ids of a text.

        `marks` adds those that the file sets around a text; with `special` the names of special tokens are tokens.
        """
        answer = self._ask("/tokenize", content=text, add_special=marks, parse_special=special)
        return list(answer["tokens"])

    def conversation(self, turns: Sequence[Mapping[str, str]]) -> str:
        """Return a conversation as the file's template writes it; raises ValueError where it refuses these turns."""
        try:
            return str(self._ask("/apply-template", messages=[dict(turn) for turn in turns])["prompt"])
        except urllib.error.HTTPError as error:
            raise ValueError(f"llama.cpp: the chat template refuses these turns ({error.code})") from error

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """Return the likeliest continuation, up to a token that ends."""
        return list(self._complete(prompt, count)["tokens"])

    def nats(self, prompt: Sequence[int], vocab_size: int) -> list[float]:
        """Return the logarithm of every token's probability to come next."""
        # Probabilities are those before the bias, which makes sure that a whole character is said: a part of one
        # would be kept back, and with it what was asked.
        forced = [[self.ids("a")[-1], 1e5]]
        answer = self._complete(prompt, 1, n_probs=vocab_size, logit_bias=forced)
        found = [math.nan] * vocab_size
        for one in answer["completion_probabilities"][0]["top_logprobs"]:
            found[one["id"]] = one["logprob"]
        return found

    def _complete(self, prompt: Sequence[int], count: int, **more: Any) -> dict[str, Any]:
        plain = {"temperature": 0, "return_tokens": True, "cache_prompt": False}
        return self._ask("/completion", prompt=list(prompt), n_predict=count, **plain, **more)

    def _ask(self, path: str, **words: Any) -> dict[str, Any]:
        content = json.dumps(words).encode()
        request = urllib.request.Request(self._address + path, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return dict(json.loads(answer.read()))


@contextmanager
def llama_cpp(path: Path, *, context: int = 512, threads: int = 1) -> Iterator[LlamaCpp]:
    """Open a file with llama.cpp; raises ValueError with its own words when it does not take the file."""
    if not is_installed():
        raise ValueError(f"{path}: llama.cpp is not installed; pip install 'rootlm[llama-cpp]'")
    words = [sys.executable, "-c", _SERVER, str(path), str(context), str(threads)]
    with (
        # What it logs goes to a file: nobody empties a pipe while it works.
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, errors="replace"
        ) as process,
    ):
        try:
            assert process.stdout
            address = next((line[3:].strip() for line in process.stdout if line.startswith("at ")), None)
            if address is None:
                log.seek(0)
                raise ValueError(f"{path}: llama.cpp does not open it: {_reason(log.read())}")
            yield LlamaCpp(address)
        finally:
            process.kill()


def _reason(log: str) -> str:
    """Return the line that says most: the first with an error in it, else the last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])
