"""What another library says when it refuses something, in one line that names the place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 240


@contextmanager
def refusing(place: str, library: str, what: str = "cannot open it") -> Iterator[None]:
    """Turn whatever a library raises within the block into a ValueError of one line.

    >>> with refusing("a/model", "transformers"):
    ...     raise KeyError("no such\\nkey")
    Traceback (most recent call last):
    ValueError: a/model: transformers cannot open it: KeyError: 'no such\\nkey'
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{place}: {library} {what}: {in_one_line(error)}") from error


def in_one_line(error: Exception) -> str:
    """Return what an error says, shortened; its kind before it where that alone tells what went wrong."""
    said = " ".join(str(error).split())
    plain = isinstance(error, OSError | ValueError | RuntimeError)
    said = said if plain and said else f"{type(error).__name__}: {said}".removesuffix(": ")
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"
