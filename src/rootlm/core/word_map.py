"""A map of words as inline SVG: each a dot with its name, which a reader can move, enlarge and search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 1080, 680
_MARGIN, _LETTER, _LINE = 40, 14, 16
_WIDE = 0x2E7F
"""Characters beyond are as wide as they are high."""


@dataclass(frozen=True)
class Place:
    """A word, where it lies on a plane of any scale, and what is said when a pointer rests on it."""

    name: str
    x: float
    y: float
    hint: str = ""


def map_places(
    places: Sequence[Place], width: int = WIDTH, height: int = HEIGHT
) -> list[tuple[float, float]]:
    """Return where each word lies in a picture (left, top), its sides in the proportion of the plane's."""
    xs, ys = [place.x for place in places], [place.y for place in places]
    across, down = max(xs) - min(xs), max(ys) - min(ys)
    rooms = [(room, span) for room, span in ((width, across), (height, down)) if span > 0]
    scale = min(((room - 2 * _MARGIN) / span for room, span in rooms), default=1.0)
    middle = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return [
        (width / 2 + (place.x - middle[0]) * scale, height / 2 - (place.y - middle[1]) * scale)
        for place in places
    ]


def apart(places: Sequence[tuple[float, float]], names: Sequence[str]) -> list[bool]:
    """Return which names can be written beside their dots without covering one that came before."""
    taken: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    shown: list[bool] = []
    for (left, top), name in zip(places, names, strict=True):
        end = left + 8 + name_width(name)
        cells = [(int(x // 120), int(top // _LINE)) for x in _steps(left, end)]
        near = [
            box for column, row in cells for way in (-1, 0, 1) for box in taken.get((column, row + way), ())
        ]
        free = not any(
            left < right and begin < end and abs(top - high) < _LINE for begin, right, high in near
        )
        shown.append(free)
        if free:
            for cell in set(cells):
                taken.setdefault(cell, []).append((left, end, top))
    return shown


def name_width(name: str) -> float:
    """Return about how wide a name is written."""
    return sum(_LETTER if ord(letter) > _WIDE else 0.56 * _LETTER for letter in name)


def draw_map(title: str, places: Sequence[Place]) -> str:
    """Return the SVG; names that would cover others wait until the map is enlarged."""
    points = map_places(places)
    parts = [f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for place, (left, top), shown in zip(
        places, points, apart(points, [place.name for place in places]), strict=True
    ):
        hint = f"<title>{escape(place.hint or place.name)}</title>"
        quiet = "" if shown else ' class="quiet"'
        parts.append(
            f'<g{quiet} data-x="{left:.1f}" data-y="{top:.1f}" transform="translate({left:.1f} {top:.1f})">{hint}'
            f'<circle r="3.2"/><text x="6" y="5">{escape(place.name)}</text></g>'
        )
    return "\n".join([*parts, "</svg>"])


def _steps(begin: float, end: float) -> list[float]:
    return [begin + 120 * step for step in range(int((end - begin) // 120) + 1)] + [end]
