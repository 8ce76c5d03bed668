"""A table of shares as inline SVG: what each row gives to each column, dark where it is much."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_CELL, _LETTER, _MARGIN = 26, 13, 12
_FONT = "'Noto Sans CJK SC','Noto Sans SC','PingFang SC','Microsoft YaHei','WenQuanYi Zen Hei',sans-serif"
_INK, _PAPER, _DEEP = "#1d2430", "#ffffff", "#1f5fae"


def heatmap(
    title: str, columns: Sequence[str], rows: Sequence[str], values: Sequence[Sequence[float]]
) -> str:
    """Draw values in 0 … 1, (rows, columns), with a name for each; readable without scripts, each cell to hover."""
    assert len(values) == len(rows)
    assert all(len(row) == len(columns) for row in values)
    left = _MARGIN + max(map(_length, rows), default=0) + 8
    top = 2 * _MARGIN + 20 + max(map(_length, columns), default=0) + 8
    width, height = left + _CELL * len(columns) + _MARGIN, top + _CELL * len(rows) + _MARGIN
    width = max(width, _MARGIN * 2 + _length(title))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(_visible(title))}" font-family="{_FONT}" font-size="13" '
        f'fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 12}">{escape(_visible(title))}</text>',
    ]
    for number, name in enumerate(columns):
        x, y = left + _CELL * number + _CELL / 2 + 4, top - 6
        parts.append(f'<text transform="translate({x:g},{y}) rotate(-90)">{escape(_visible(name))}</text>')
    for number, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + _CELL * number
        parts.append(f'<text x="{left - 6}" y="{y + 18}" text-anchor="end">{escape(_visible(name))}</text>')
        for place, value in enumerate(row):
            hint = f"{_visible(name)} → {_visible(columns[place])}: {value:.0%}"
            parts.append(
                f'<rect x="{left + _CELL * place}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
                f'fill="{_DEEP}" fill-opacity="{min(max(value, 0.02), 1):.3f}"><title>{escape(hint)}</title></rect>'
            )
    return "".join([*parts, "</svg>"])


def _visible(name: str) -> str:
    """Return a name as it can be drawn: controls, which no picture may hold, become dots."""
    return "".join(letter if letter.isprintable() else "·" for letter in name).strip() or "␣"


def _length(name: str) -> int:
    """Return about how long a text is, in the picture's units: Han characters are twice as wide as letters."""
    return round(sum(_LETTER if ord(letter) > 0x2E7F else 0.6 * _LETTER for letter in _visible(name)))
