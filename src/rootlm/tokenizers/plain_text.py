"""What counts as text: any string that UTF-8 can write."""

from __future__ import annotations

from collections.abc import Sequence


def not_text(texts: Sequence[str]) -> ValueError | TypeError:
    """Return the error that names the first place where one of `texts` is no Unicode text."""
    for place, text in enumerate(texts):
        for index, character in enumerate(text):
            if "\ud800" <= character <= "\udfff":
                where = f"text {place}, character {index}"
                return ValueError(f"{where}: a lone surrogate is no Unicode; read with errors='replace'")
    return TypeError("expected a sequence of str")
