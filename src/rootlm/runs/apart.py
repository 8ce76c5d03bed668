"""Training in a process of its own, that no earlier run has filled, warmed or bent."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rootlm.core import config, files
from rootlm.runs.recipe import Recipe


def train_apart(recipe: Recipe, part: float = 1.0) -> Path:
    """Do `rootlm train` with a recipe, which is written beside its run folder; returns that folder.

    `part` below 1 pauses it there.

    Raises ValueError when it fails, after it has said why; KeyboardInterrupt when it was stopped, with all saved.
    """
    folder = Path(recipe.out)
    asked = folder.with_name(f"{folder.name}.recipe.yaml")
    files.write_text(asked, config.to_yaml(recipe))
    # A session of its own: a signal from the terminal reaches it once, through us.
    process = subprocess.Popen(
        [sys.executable, "-m", "rootlm", "train", str(asked), f"part={part}"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    with _interruptible():
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise ValueError(f"{asked}: could not be trained; rootlm train said why, above")
    return folder


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a request to end arrive as an interruption."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
