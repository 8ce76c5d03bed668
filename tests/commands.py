"""The real command line in processes of their own that can be killed, without paying torch's import each time.

A server imports rootlm once, on one thread, and forks for each command; a child is a process like any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(SOURCE), str(SOURCE.parent / "tests")]),
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}
PATIENCE_SECONDS = 240


@dataclass
class Ended:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@dataclass
class Command:
    """A command that runs."""

    pid: int
    folder: Path
    server: Server

    def wait(self) -> Ended:
        """Return when it has ended."""
        code = self.server.ask({"wait": self.pid})
        return Ended(code, *((self.folder / name).read_text(encoding="utf-8") for name in ("out", "err")))

    def kill_when(
        self, ready: Callable[[], object], number: int = signal.SIGKILL, *, pause: float = 0.002
    ) -> Ended:
        """Send a signal as soon as `ready` says so; it must not have ended before."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            said = (self.folder / "err").read_text(encoding="utf-8")
            assert time.monotonic() < until, said
            assert not self._has_ended(), said
            time.sleep(pause)
        os.kill(self.pid, number)
        return self.wait()

    def _has_ended(self) -> bool:
        state = Path(f"/proc/{self.pid}/stat")
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


class Server:
    """Runs `rootlm …` in forked children."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )

    def start(
        self, *words: str, env: dict[str, str] | None = None, fsize: int | None = None, brake: float = 0.0
    ) -> Command:
        """Start a command; `fsize` limits the size of its files, `brake` makes every record take so long."""
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        for name in ("out", "err"):
            (folder / name).touch()
        request = {"words": words, "folder": str(folder), "env": env or {}, "fsize": fsize, "brake": brake}
        return Command(self.ask({"run": request}), folder, self)

    def run(self, *words: str, **settings: object) -> Ended:
        """Run a command to its end."""
        return self.start(*words, **settings).wait()  # type: ignore[arg-type]

    def ask(self, request: dict[str, object]) -> int:
        """Send a request and return the number that answers it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Let the server end."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve() -> None:
    """Answer requests from standard input until it closes."""
    import importlib

    import torch

    from rootlm.cli.main import run
    from rootlm.core import device

    torch.set_num_threads(1)
    for slow in (
        "rootlm.runs.fitting",
        "rootlm.text.prepare",
        "torch._inductor.compile_fx",
        "torch.distributed.fsdp",
    ):
        importlib.import_module(slow)
    # Every run measures the machine's peak once per process; children inherit it.
    device.measured_peak_flops(device.choose("cpu", "float32"))
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(_ended(request["wait"]), flush=True)
            continue
        asked = request["run"]
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        os._exit(_child(asked, run))


def _ended(child: int) -> int:
    """Return the exit code of a child; one that waits for what never comes is killed."""
    until = time.monotonic() + PATIENCE_SECONDS
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
        ended, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status)


def _child(asked: dict[str, object], run: Callable[[list[str]], int]) -> int:
    import faulthandler
    import resource
    import traceback

    faulthandler.enable()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{asked['folder']}/{name}", os.O_WRONLY | os.O_CREAT), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.update(asked["env"])  # type: ignore[arg-type]
    if asked["fsize"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["fsize"], asked["fsize"]))  # type: ignore[arg-type]
    if asked["brake"]:
        _brake(asked["brake"])  # type: ignore[arg-type]
    try:
        return run(asked["words"])  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 - a child must never return into the server's loop
        traceback.print_exc()
        return 1


def _brake(seconds: float) -> None:
    """Let a run that is over in a blink last long enough to be stopped at a step."""
    from rootlm.core.records import Records

    write = Records.write

    def slowly(self: Records, record: dict[str, object]) -> None:
        write(self, record)
        time.sleep(seconds)

    Records.write = slowly  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    serve()
