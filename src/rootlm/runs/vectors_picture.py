"""A picture of word vectors: a page that can be moved and searched, or a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rootlm.core.files import write_bytes
from rootlm.core.report import Report, WordMap, write_report
from rootlm.core.word_map import HEIGHT, WIDTH, Place, apart, map_places
from rootlm.models.vector_map import Projection, project
from rootlm.models.vector_queries import Queries
from rootlm.models.word_vectors import WordVectors

_FONTS = (
    "Noto Sans CJK SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "SimHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Noto Sans SC", "Noto Sans CJK JP",
    "Droid Sans Fallback", "AR PL UMing CN", "Arial Unicode MS", "DejaVu Sans",
)  # fmt: skip
_DOTS_PER_INCH = 160
_NAMES = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}
_HINTED = 5


def places_of(vectors: WordVectors, words: Sequence[str], how: Projection, seed: int = 0) -> list[Place]:
    """Return where words lie; each one's hint names its nearest among all."""
    queries = Queries(vectors)
    hints = [
        f"{word}: " + ", ".join(f"{near.word} {near.nearness:.2f}" for near in nearest)
        for word, nearest in zip(words, queries.neighbours(words, _HINTED), strict=True)
    ]
    points = project(vectors.vectors(words), how, seed)
    return [
        Place(word, float(x), float(y), hint) for word, (x, y), hint in zip(words, points, hints, strict=True)
    ]


def write_picture(places: Sequence[Place], how: Projection, name: str, file: Path) -> None:
    """Write a picture as `.html` or `.png`; raises ValueError for another name, and where a font lacks glyphs."""
    title = f"{len(places):,} words of {name}"
    if file.suffix.lower() in (".html", ".htm"):
        note = "Drag to move, turn the wheel to enlarge, double-click to begin again; rest on a word for its nearest."
        write_report(file, Report(title, [WordMap(places, note=note)], f"by {_NAMES[how]}"))
    elif file.suffix.lower() == ".png":
        write_bytes(file, _png(places, f"{title}, by {_NAMES[how]}"))
    else:
        raise ValueError(f"{file}: ends in neither .html nor .png; set out= to one of these")


def _png(places: Sequence[Place], title: str) -> bytes:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(
            "a .png needs matplotlib; pip install 'rootlm[vectors]', or set out=….html"
        ) from None
    names = [place.name for place in places]
    font = _font(sorted(set("".join([*names, title]))))
    figure = Figure(figsize=(WIDTH / 80, HEIGHT / 80), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 0.95))
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.axis("off")
    points = map_places(places)
    axes.scatter([left for left, _ in points], [top for _, top in points], s=12, color="#0b62a8", alpha=0.8)
    for (left, top), shown, word in zip(points, apart(points, names), names, strict=True):
        if shown:
            where = {"xytext": (4, -3), "textcoords": "offset points", "fontproperties": font, "fontsize": 9}
            axes.annotate(word, (left, top), parse_math=False, **where)
    figure.suptitle(title, fontproperties=font, fontsize=11, parse_math=False)
    held = io.BytesIO()
    figure.savefig(held, format="png")
    return held.getvalue()


def _font(letters: Sequence[str]) -> Any:
    """Return an installed font that has all letters; raises ValueError naming one that none has."""
    from matplotlib import font_manager

    best: tuple[int, str, Any] | None = None
    for name in _FONTS:
        font = font_manager.FontProperties(family=[name])
        try:
            file = font_manager.findfont(font, fallback_to_default=False)
        except ValueError:
            continue
        held = font_manager.get_font([file])
        missing = [letter for letter in letters if not held.get_char_index(ord(letter))]
        if not missing:
            return font
        if best is None or len(missing) < best[0]:
            best = len(missing), missing[0], font
    letter = best[1] if best else letters[0]
    raise ValueError(
        f"no font of this machine can draw {letter!r}; install one, such as fonts-noto-cjk for Chinese, "
        "or set out=….html"
    )
