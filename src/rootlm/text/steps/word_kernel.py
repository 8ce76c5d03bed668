"""Where the words of a text begin and end, its sentences, and its repeated runs of words, in one pass each.

English is split as spaCy's English tokenizer does it (Honnibal et al. 2020), because the published quality
limits are counted that way: marks at the borders of a chunk stand alone, contractions fall in two, hyphens
between letters and dashes separate. Chinese text is split into Han characters, marks, and runs of the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled

SPACE, ALPHA, LOWER, UPPER, DIGIT, HAN = 1, 2, 4, 8, 16, 32
EDGE, PREFIX, MARK, STOP, QUOTE, ICON = 64, 128, 256, 512, 1024, 2048
APOSTROPHE, DASH, JOINT, OPERATOR = 4096, 8192, 16384, 32768
"""What a character can be. EDGE: stands alone at either border of a chunk; PREFIX: at its beginning only;
MARK: punctuation; STOP: ends a sentence; ICON: stands alone anywhere; JOINT: separates before a letter;
OPERATOR: separates digits."""
_SEED, _STEP, _LESS = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15), np.uint64(29)
_DOT, _COMMA, _AT, _PLUS, _HYPHEN, _PERCENT = ord("."), ord(","), ord("@"), ord("+"), ord("-"), ord("%")
_EM_DASH, _EN_DASH, _TILDE = 0x2014, 0x2013, ord("~")
_CASE = 32
_CANNOT = (ord("c"), ord("a"), ord("n"), ord("n"), ord("o"), ord("t"))
_S, _N, _T, _M, _D = ord("s"), ord("n"), ord("t"), ord("m"), ord("d")
_TWO_LETTERS = (ord("l") << 8 | ord("l"), ord("r") << 8 | ord("e"), ord("v") << 8 | ord("e"))
_LONGEST_WHOLE, _LONGEST_UNIT, _LONGEST_DASH = 7, 4, 3

Points = NDArray[np.uint32]
Classes = NDArray[np.uint16]
Places = NDArray[np.int32]
Hashes = NDArray[np.uint64]


@compiled
def hash_run(points: Points, start: int, end: int) -> np.uint64:
    """Return a hash of a run of characters."""
    value = _SEED
    for place in range(start, end):
        value = (value ^ np.uint64(points[place])) * _STEP
        value ^= value >> _LESS
    return value


@compiled
def _is_known(hashes: Hashes, value: np.uint64) -> bool:
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(hashes) and hashes[low] == value


@compiled
def _dots(points: Points, start: int, end: int) -> int:
    """Return how many dots stand in a row from a place on, if there are two or more."""
    place = start
    while place < end and points[place] == _DOT:
        place += 1
    return place - start if place - start > 1 else 0


@compiled
def _prefix(points: Points, classes: Classes, start: int, end: int) -> int:
    """Return how many characters at the beginning stand alone."""
    if classes[start] & (EDGE | PREFIX):
        return 1
    if points[start] == _PLUS:
        return 0 if start + 1 < end and classes[start + 1] & DIGIT else 1
    return _dots(points, start, end)


@compiled
def _suffix(points: Points, classes: Classes, start: int, end: int, units: Hashes) -> int:
    """Return how many characters at the end stand alone."""
    last, kind = points[end - 1], classes[end - 1]
    if last == _DOT:
        return _last_dots(points, classes, start, end)
    size = 0
    if kind & EDGE or last in (_EM_DASH, _EN_DASH):
        size = 1
    elif end - start > 1 and (last | _CASE) == _S and classes[end - 2] & APOSTROPHE:
        size = 2
    elif end - start > 1 and last == _PLUS and classes[end - 2] & DIGIT:
        size = 1
    for width in range(min(_LONGEST_UNIT, end - start - 1), 0, -1):
        if (
            size == 0
            and classes[end - width - 1] & DIGIT
            and _is_known(units, hash_run(points, end - width, end))
        ):
            size = width
    return size


@compiled
def _last_dots(points: Points, classes: Classes, start: int, end: int) -> int:
    """Return how many dots at the end stand alone: that of an initial is part of it."""
    dots = 1
    while end - dots > start and points[end - dots - 1] == _DOT:
        dots += 1
    if dots > 1:
        return dots
    if end - start < 2:
        return 0
    before = classes[end - 2]
    if before & (DIGIT | LOWER | EDGE | QUOTE) or points[end - 2] in (_PERCENT, _PLUS, _HYPHEN):
        return 1
    return 1 if before & UPPER and end - start > 2 and classes[end - 3] & UPPER else 0


@compiled
def _is_address(points: Points, classes: Classes, start: int, end: int) -> bool:
    """Return whether a run looks like a web or mail address or the name of a file: never split inside."""
    for place in range(start, end - 2):
        if points[place] == _AT:
            start = place + 1
        elif points[place] == ord(":") and points[place + 1] == ord("/") and points[place + 2] == ord("/"):
            return True
    dot, place = start - 1, start
    while place < end and points[place] not in (ord(":"), ord("/"), ord("?"), ord("#")):
        if points[place] == _DOT:
            if dot == place - 1:
                return False
            dot = place
        elif not (classes[place] & (ALPHA | DIGIT) or points[place] in (_HYPHEN, ord("_"))):
            return False
        place += 1
    small = dot >= start and place - dot > 2
    for letter in range(dot + 1, place):
        small &= classes[letter] & LOWER != 0
    return small


@compiled
def _infix(points: Points, classes: Classes, start: int, place: int, end: int) -> int:
    """Return how many characters separate two words inside a chunk; 0: none."""
    code, kind = points[place], classes[place]
    if kind & (ALPHA | DIGIT):
        return 0
    if kind & ICON:
        return 1
    size = _dots(points, place, end)
    if size or place == start or place + 1 >= end:
        return size
    before, after = classes[place - 1], classes[place + 1]
    separates = False
    if kind & OPERATOR and before & DIGIT and (after & DIGIT or points[place + 1] == _HYPHEN):
        separates = True
    elif code == _DOT:
        separates = before & (LOWER | QUOTE) != 0 and after & (UPPER | QUOTE) != 0
    elif code == _COMMA:
        separates = before & ALPHA != 0 and after & ALPHA != 0
    elif kind & JOINT:
        separates = before & (ALPHA | DIGIT) != 0 and after & ALPHA != 0
    elif kind & DASH and before & (ALPHA | DIGIT):
        return _dash(points, classes, place, end)
    return 1 if separates else 0


@compiled
def _dash(points: Points, classes: Classes, place: int, end: int) -> int:
    """Return how long a dash before a letter is: - – — ~ or -- --- ——."""
    code, size = points[place], 1
    while place + size < end and points[place + size] == code:
        size += 1
    longest = _LONGEST_DASH if code == _HYPHEN else 2 if code == _EM_DASH else 1
    return size if size <= longest and place + size < end and classes[place + size] & ALPHA else 0


@compiled
def _contraction(points: Points, classes: Classes, start: int, end: int, stems: Hashes) -> int:
    """Return how many characters at the end are n't, or 'll, 're, 've, 'm or 'd behind a pronoun or the like."""
    size = end - start
    if size < 3:
        return 0
    last, second, third = points[end - 1] | _CASE, points[end - 2] | _CASE, points[end - 3] | _CASE
    if classes[end - 2] & APOSTROPHE:
        if last == _T and third == _N:
            return 3 if _is_known(stems, hash_run(points, start, end - 3)) else 0
        return 2 if last in (_M, _D) and _is_known(stems, hash_run(points, start, end - 2)) else 0
    if classes[end - 3] & APOSTROPHE and (second << 8 | last) in _TWO_LETTERS:
        return 3 if _is_known(stems, hash_run(points, start, end - 3)) else 0
    return 0


@compiled
def _is_cannot(points: Points, start: int, end: int) -> bool:
    """Return whether a run of letters is cannot, which is two words."""
    same = end - start == len(_CANNOT)
    place = 0
    while same and place < len(_CANNOT):
        same = points[start + place] | _CASE == _CANNOT[place]
        place += 1
    return same


@compiled
def split(
    points: Points, classes: Classes, whole: Hashes, units: Hashes, stems: Hashes, han: bool
) -> tuple[Places, Places, Hashes]:
    """Return where the words begin and end, and their hashes.

    `whole` holds the sorted hashes of abbreviations, whose dot is theirs, `units` those of units, `stems` those
    of what is contracted with a verb. With `han` every Han character and every mark is a word.
    """
    size = len(points)
    starts = np.empty(size, np.int32)
    ends = np.empty(size, np.int32)
    count = 0
    place = 0
    while place < size:
        if classes[place] & SPACE:
            place += 1
            continue
        start = place
        if han:
            alone = classes[place] & (HAN | EDGE | PREFIX | MARK)
            place += 1
            while not alone and place < size and not classes[place] & (SPACE | HAN | EDGE | PREFIX | MARK):
                place += 1
            starts[count], ends[count] = start, place
            count += 1
            continue
        kinds = ALPHA
        while place < size and not classes[place] & SPACE:
            kinds &= classes[place]
            place += 1
        if kinds and not _is_cannot(points, start, place):
            starts[count], ends[count] = start, place
            count += 1
        else:
            count = _chunk(points, classes, start, place, starts, ends, count, whole, units, stems)
    starts, ends = starts[:count].copy(), ends[:count].copy()
    hashes = np.empty(count, np.uint64)
    for word in range(count):
        hashes[word] = hash_run(points, starts[word], ends[word])
    return starts, ends, hashes


@compiled
def _chunk(
    points: Points,
    classes: Classes,
    start: int,
    end: int,
    starts: Places,
    ends: Places,
    count: int,
    whole: Hashes,
    units: Hashes,
    stems: Hashes,
) -> int:
    """Write the words between two spaces to `starts` and `ends`; returns the new count of words."""
    while start < end and not _is_whole(points, classes, start, end, whole):
        size = _prefix(points, classes, start, end)
        if size == 0:
            break
        starts[count], ends[count] = start, start + size
        count += 1
        start += size
    last = end
    while start < end and not _is_whole(points, classes, start, end, whole):
        size = _suffix(points, classes, start, end, units)
        if size == 0:
            break
        end -= size
    rest = end
    if not (_is_whole(points, classes, start, end, whole) or _is_address(points, classes, start, end)):
        end -= 3 if _is_cannot(points, start, end) else _contraction(points, classes, start, end, stems)
        place = start
        while place < end:
            size = _infix(points, classes, start, place, end)
            if size and place > start:
                starts[count], ends[count] = start, place
                starts[count + 1], ends[count + 1] = place, place + size
                count += 2
                start = place + size
            place += max(size, 1)
    if start < end:
        starts[count], ends[count] = start, end
        count += 1
    if end < rest:
        starts[count], ends[count] = end, rest
        count += 1
    first = count
    while rest < last:
        size = _suffix(points, classes, rest, last, units) if last - rest > 1 else 1
        size = max(size, 1)
        starts[count], ends[count] = last - size, last
        count += 1
        last -= size
    for step in range((count - first) // 2):
        one, other = first + step, count - 1 - step
        starts[one], starts[other] = starts[other], starts[one]
        ends[one], ends[other] = ends[other], ends[one]
    return count


@compiled
def _is_whole(points: Points, classes: Classes, start: int, end: int, whole: Hashes) -> bool:
    """Return whether a run is a word as it stands: an abbreviation, or a letter with a dot."""
    if end - start == 2 and points[end - 1] == _DOT and classes[start] & ALPHA:
        return True
    return end - start <= _LONGEST_WHOLE and _is_known(whole, hash_run(points, start, end))
