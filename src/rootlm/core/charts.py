"""Line charts as inline SVG: readable without scripts, light or dark, with points to hover."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from rootlm.core.progress import short_number

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 40
_MOST_POINTS = 320
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Series:
    """A named line, broken where a value is missing; `spread` is the half width of a band around it.

    `bars` are the lower and upper ends of an upright bar through each point.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    spread: Sequence[float] = ()
    dots: bool = False
    dashed: bool = False
    bars: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis; `log_scale` lets the reader switch the value axis, `x_log` is the other axis."""

    title: str
    series: Sequence[Series]
    x_label: str = "step"
    y_label: str = ""
    log_scale: bool = False
    starts_log: bool = False
    from_zero: bool = False
    x_log: bool = False


@dataclass(frozen=True)
class Drawing:
    """A chart drawn once: the SVG text, and for each series (x, y, left, top) in the SVG's own units."""

    svg: str
    places: list[list[tuple[float, float, float, float]]]


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    place: Callable[[float], float]
    ticks: list[float]


def draw(chart: Chart, log: bool = False) -> Drawing:
    """Draw a chart with a linear or a logarithmic value axis; long series are averaged down."""
    series = [_thinned(one) for one in chart.series]
    xs = [x for one in series for x, _ in one.points]
    ys = [value for one in series for value in _extent(one) if not log or value > 0]
    if not ys:
        return Drawing("", [])
    if chart.from_zero and not log:
        ys.append(0.0)
    # Lines reach the edge; lonely points need room for their size.
    pad = 0.04 if all(one.dots for one in series) else 0.0
    across = _axis(min(xs), max(xs), _LEFT, WIDTH - _RIGHT, log=chart.x_log, pad=pad, steps=6)
    down = _axis(min(ys), max(ys), HEIGHT - _BOTTOM, _TOP, log=log, pad=0.04, steps=5)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *_grid(across, down, chart),
    ]
    places: list[list[tuple[float, float, float, float]]] = []
    for number, one in enumerate(series, 1):
        known = [
            (x, y, across.place(x), down.place(y))
            for x, y in one.points
            if y is not None and (not log or y > 0)
        ]
        places.append([(x, y, round(left, 1), round(top, 1)) for x, y, left, top in known])
        parts += [*_band(one, number, across, down), *_bars(one, number, across, down)]
        parts += _line(one, number, across, down, log)
    parts.append('<line class="rule" y1="0" y2="0" hidden></line></svg>')
    return Drawing("\n".join(parts), places)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers inside a range, about `count` of them.

    >>> nice_ticks(0, 10, 5), nice_ticks(0.13, 0.41, 4)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [0.2, 0.3, 0.4])
    """
    if high <= low:
        return [low]
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in _STEPS if size * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def axis_label(value: float) -> str:
    """Return a tick as short as it can be.

    >>> axis_label(0.0), axis_label(2500.0), axis_label(0.0003), axis_label(1.25)
    ('0', '2.5k', '3e-4', '1.25')
    """
    if value and abs(value) < 0.001:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if abs(value) < 1000:
        return f"{value:.6g}"
    text = short_number(value)
    digits, letter = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + letter


def _axis(low: float, high: float, start: float, end: float, *, log: bool, pad: float, steps: int) -> _Axis:
    if high == low:
        wider = abs(low) * 0.1 or 1.0
        low, high = (low / 1.1, high * 1.1) if log else (low - wider, high + wider)
    if log:
        margin = (math.log(high) - math.log(low)) * pad
        low, high = low * math.exp(-margin), high * math.exp(margin)
        span = math.log(high / low)
        return _Axis(
            low,
            high,
            lambda v: start + (end - start) * math.log(max(v, low) / low) / span,
            _log_ticks(low, high, steps),
        )
    margin = (high - low) * pad
    # Nothing that cannot be negative gets an axis that starts below zero.
    low, high = (max(0.0, low - margin) if low >= 0 else low - margin), high + margin
    return _Axis(
        low, high, lambda v: start + (end - start) * (v - low) / (high - low), nice_ticks(low, high, steps)
    )


def _log_ticks(low: float, high: float, steps: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks[:: max(1, len(ticks) // (2 * steps))]
    return nice_ticks(low, high, steps)


def _thinned(series: Series) -> Series:
    """Make every odd value a gap, and average neighbours until a line has a few hundred points."""
    points = [(x, y if y is not None and math.isfinite(y) else None) for x, y in series.points]
    size = math.ceil(len(points) / _MOST_POINTS)
    if size <= 1:
        return replace(series, points=points)
    thin: list[tuple[float, float | None]] = []
    spread: list[float] = []
    for start in range(0, len(points), size):
        group = points[start : start + size]
        values = [y for _, y in group if y is not None]
        thin.append((sum(x for x, _ in group) / len(group), sum(values) / len(values) if values else None))
        spread.append(max(series.spread[start : start + size], default=0.0))
    return replace(series, points=thin, spread=spread if series.spread else ())


def _extent(series: Series) -> list[float]:
    values = [y for _, y in series.points if y is not None]
    values += [end for bar in series.bars for end in bar]
    if not series.spread:
        return values
    pairs = [(y, s) for (_, y), s in zip(series.points, series.spread, strict=True) if y is not None]
    return [*values, *(y - s for y, s in pairs), *(y + s for y, s in pairs)]


def _grid(across: _Axis, down: _Axis, chart: Chart) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts: list[str] = []
    for tick in down.ticks:
        y = round(down.place(tick), 1)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 7}" y="{y + 4}" text-anchor="end">{axis_label(tick)}</text>'
        )
    for tick in across.ticks:
        x = round(across.place(tick), 1)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(
            f'<text class="tick" x="{x}" y="{bottom + 17}" text-anchor="middle">{axis_label(tick)}</text>'
        )
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text class="name" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{escape(chart.x_label)}</text>"
    )
    return parts


def _band(series: Series, number: int, across: _Axis, down: _Axis) -> list[str]:
    if not series.spread or not any(series.spread):
        return []
    rows = [(x, y, s) for (x, y), s in zip(series.points, series.spread, strict=True) if y is not None]
    upper = [f"{across.place(x):.1f},{down.place(y + s):.1f}" for x, y, s in rows]
    lower = [f"{across.place(x):.1f},{down.place(y - s):.1f}" for x, y, s in reversed(rows)]
    return [f'<polygon class="band s{number}" points="{" ".join(upper + lower)}"/>']


def _bars(series: Series, number: int, across: _Axis, down: _Axis) -> list[str]:
    parts: list[str] = []
    for (x, _), (low, high) in zip(series.points, series.bars, strict=True) if series.bars else ():
        left, bottom, top = across.place(x), down.place(low), down.place(high)
        parts += [
            f'<path class="bar s{number}" d="M{left:.1f} {bottom:.1f}V{top:.1f}'
            f'M{left - 4:.1f} {bottom:.1f}h8M{left - 4:.1f} {top:.1f}h8"/>'
        ]
    return parts


def _line(series: Series, number: int, across: _Axis, down: _Axis, log: bool) -> list[str]:
    """Return the line, broken where a value is missing, and its dots."""
    runs: list[list[str]] = [[]]
    for x, y in series.points:
        if y is None or (log and y <= 0):
            runs.append([])
        else:
            runs[-1].append(f"{across.place(x):.1f},{down.place(y):.1f}")
    style = f"line s{number}" + (" dashed" if series.dashed else "")
    parts = [f'<polyline class="{style}" points="{" ".join(run)}"/>' for run in runs if len(run) > 1]
    lonely = [run[0] for run in runs if len(run) == 1]
    dots = [place for run in runs for place in run] if series.dots and len(series.points) <= 60 else lonely
    for place in dots:
        left, top = place.split(",")
        parts.append(f'<circle class="dot s{number}" cx="{left}" cy="{top}" r="2.6"/>')
    return parts
