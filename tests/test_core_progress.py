"""The progress line: whole on a terminal of any width, now and then elsewhere."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from rootlm.core.progress import Progress

FIELDS = {"loss": 3.21, "bits_per_byte": 1.9, "tokens_per_second": 11234.0, "peak_share": 0.41}


def console(terminal: bool, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False)


def text(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def run(console: Console, plain_seconds: float, steps: int = 20) -> list[str]:
    with Progress(steps, console=console, plain_seconds=plain_seconds) as progress:
        for step in range(1, steps + 1):
            progress.update(step, FIELDS)
    return text(console).splitlines()


def test_elsewhere_the_first_and_the_last_step_are_written() -> None:
    lines = run(console(terminal=False), plain_seconds=1e9)
    assert [line.split("  ")[0] for line in lines] == ["step 1/20", "step 20/20"]
    assert "\r" not in "".join(lines)


def test_elsewhere_every_step_is_written_when_seconds_are_zero() -> None:
    assert len(run(console(terminal=False), plain_seconds=0.0)) == 20


def test_the_line_holds_what_a_person_wants() -> None:
    last = run(console(terminal=False), plain_seconds=0.0)[-2]
    for wanted in ("95%", "loss 3.210", "1.900 bits/byte", "11.2k tokens/s", "41% of peak", "left"):
        assert wanted in last


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_on_a_terminal_the_line_never_wraps(width: int) -> None:
    screen = console(terminal=True, width=width)
    run(screen, plain_seconds=10.0)
    assert isinstance(screen.file, io.StringIO)
    # Only a line that wrapped would have to be redrawn from further up.
    assert "\x1b[1A" not in screen.file.getvalue()
    assert text(screen).count("\n") == 1


def test_the_bar_takes_only_the_room_that_is_left() -> None:
    drawn = {
        width: run(console(terminal=True, width=width), plain_seconds=10.0)[-1] for width in (60, 80, 200)
    }
    assert drawn[200].split("\r")[-1].startswith("━" * 20)
    assert all("…" not in line or width < 76 for width, line in drawn.items())


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_said_stays_and_is_not_markup(terminal: bool) -> None:
    screen = console(terminal)
    with Progress(2, console=screen) as progress:
        progress.update(1, FIELDS)
        progress.say("床前明月光 [bold] :smile:")
        progress.update(2, FIELDS)
    assert "床前明月光 [bold] :smile:" in text(screen)


def test_a_resumed_run_is_timed_by_its_own_steps() -> None:
    progress = Progress(100, start_step=90, console=console(terminal=False))
    assert progress.seconds_left() is None
    time.sleep(0.05)
    progress.update(95, {})
    left = progress.seconds_left()
    # Five steps will take what five steps took.
    assert left is not None
    assert left >= 0.05


def test_no_steps_is_no_division_by_zero() -> None:
    screen = console(terminal=False)
    with Progress(0, console=screen) as progress:
        progress.update(0, {})
    assert "100%" in text(screen)
