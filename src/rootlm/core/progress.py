"""One line that says where a long piece of work stands: in place on a terminal, now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

_BAR_CELLS = 20
_REDRAW_SECONDS = 0.2
_WINDOW_SECONDS = 60.0
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class Progress:
    """The progress line of `total_steps` steps, or of what `unit` names; `start_step` of them were done before.

    On a terminal the line is redrawn in place. Elsewhere a plain line is written with the first step, the
    last and every `plain_seconds` between. It goes to standard error: results stay alone on standard output.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        start_step: int = 0,
        console: Console | None = None,
        plain_seconds: float = 10.0,
        unit: str = "step",
    ) -> None:
        self.total_steps = total_steps
        self._unit = unit
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._plain_seconds = plain_seconds
        self._seen = deque([(time.monotonic(), start_step)])
        self._line, self._drawn_at = "", float("-inf")
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()

    def update(self, step: int, fields: Mapping[str, float | str]) -> None:
        """Say that `step` steps are done, with the measures of the last one."""
        now = time.monotonic()
        self._seen.append((now, step))
        # Two entries always remain, so that a step longer than the window still tells the pace.
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        self._line = self._text(step, fields)
        wait = _REDRAW_SECONDS if self._live else self._plain_seconds
        if now - self._drawn_at >= wait or step >= self.total_steps:
            self._draw(now)

    def say(self, text: str) -> None:
        """Write lines that stay, above the progress line."""
        self._console.print(Text(text))

    def close(self) -> None:
        """Draw the last state and leave the line standing."""
        if self._line:
            self._draw(time.monotonic())
        if self._live:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def seconds_left(self) -> float | None:
        """Return the seconds to go at the pace of the last minute, None before a pace is known."""
        (first_time, first), (last_time, last) = self._seen[0], self._seen[-1]
        if last <= first:
            return None
        return (last_time - first_time) / (last - first) * max(0, self.total_steps - last)

    def _draw(self, now: float) -> None:
        self._drawn_at = now
        if self._live:
            self._live.update(Text(self._line, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif self._line:
            self._console.print(Text(self._line))
            self._line = ""

    def _text(self, step: int, fields: Mapping[str, float | str]) -> str:
        done = min(1.0, step / self.total_steps) if self.total_steps else 1.0
        parts = [f"{self._unit} {step:,}/{self.total_steps:,}", f"{done:.0%}"]
        left = self.seconds_left()
        if left is not None and step < self.total_steps:
            parts.append(f"{duration(left)} left")
        parts += [show(name, value) for name, value in fields.items()]
        line = "  ".join(parts)
        cells = min(_BAR_CELLS, self._console.width - len(line) - 3) if self._live else 0
        return f"{_bar(done, cells)}  {line}" if cells >= 4 else line


def show(name: str, value: float | str) -> str:
    """Return a measure as a person reads it.

    >>> show("loss", 3.14159), show("tokens_per_second", 11234.0), show("peak_share", 0.414)
    ('loss 3.142', '11.2k tokens/s', '41% of peak')
    >>> show("bits_per_byte", 1.9), show("learning_rate", 0.0003), show("phase", "warm-up")
    ('1.900 bits/byte', 'learning rate 0.0003', 'phase warm-up')
    """
    if isinstance(value, str):
        return f"{name.replace('_', ' ')} {value}"
    if name.endswith("bits_per_byte"):
        return f"{name.removesuffix('bits_per_byte').replace('_', ' ')}{value:.3f} bits/byte"
    if name.endswith("_per_second"):
        return f"{short_number(value)} {name.partition('_')[0]}/s"
    if name == "peak_share":
        return f"{value:.0%} of peak"
    words = name.replace("_", " ")
    return f"{words} {value:.3f}" if "loss" in name else f"{words} {value:.3g}"


def short_number(value: float) -> str:
    """Return a count in three digits or so.

    >>> short_number(950), short_number(11234), short_number(2.5e6)
    ('950', '11.2k', '2.50M')
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.{max(0, 2 - int(scaled >= 10) - int(scaled >= 100))}f}{letter}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Return a time in its two largest units.

    >>> duration(0.4), duration(75), duration(7265), duration(90000)
    ('0 s', '1 min 15 s', '2 h 1 min', '1 d 1 h')
    """
    remaining = round(seconds)
    parts: list[str] = []
    for name, size in _UNITS:
        count, remaining = divmod(remaining, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def _bar(share: float, cells: int) -> str:
    full = round(share * cells)
    return "━" * full + "─" * (cells - full)
