"""A table for the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text under a head, the first column flush left and the others right.

    >>> print(plain_table(["model", "bits"], [["诗", "2.5"], ["n-gram", "12.25"]]))
    model     bits
    ──────────────
    诗         2.5
    n-gram   12.25
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    stream = io.StringIO()
    Console(file=stream, width=1000, highlight=False, markup=False, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
