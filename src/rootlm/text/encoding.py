"""Which encoding a file is in: UTF-8 unless its bytes say otherwise."""

from __future__ import annotations

import codecs
import re

SAMPLE_BYTES = 1 << 18

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# UTF-8 with a few torn bytes is still UTF-8: a guess would turn the good lines into nonsense.
_MOSTLY = 0.9
# Few bytes above 127 mislead the detection: a lone £ is taken for half of a Japanese character.
_PAIRED = {"gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "cp949", "euc_kr", "johab", "cp932"}
_PAIRED |= {"shift_jis", "shift_jisx0213", "shift_jis_2004", "euc_jp", "euc_jis_2004", "euc_jisx0213"}
_SINGLE = 0.7


def detect(sample: bytes) -> str | None:
    """Return the name of the encoding of a file that starts with `sample`, or None for a binary file.

    >>> detect("床前明月光，疑是地上霜。".encode("gb18030"))
    'gb18030'
    >>> detect("床前明月光，疑是地上霜。".encode() + b"\\xff")
    'utf-8'
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        return None
    if utf8_share(sample) >= _MOSTLY:
        return "utf-8"
    from charset_normalizer import from_bytes

    guess = from_bytes(sample).best()
    if guess is None:
        return "utf-8"
    if guess.encoding in _PAIRED and _isolated_share(sample) > _SINGLE:
        return "cp1252"
    # GB18030 holds all of GB2312 and GBK, which charset detection confuses with it.
    return "gb18030" if guess.encoding in ("gb2312", "gbk", "gb18030", "hz") else guess.encoding


def _isolated_share(sample: bytes) -> float:
    """Return the share of single bytes, as accents are, among the runs of bytes above 127."""
    runs = re.findall(rb"[\x80-\xff]+", sample)
    return sum(len(run) == 1 for run in runs) / max(len(runs), 1)


def utf8_share(sample: bytes) -> float:
    """Return the share of the bytes above 127 that are well-formed UTF-8; a torn last character is forgiven.

    >>> utf8_share("诗".encode() + "诗".encode()[:2])
    1.0
    """
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    text = decoder.decode(sample)
    pending = len(decoder.getstate()[0])
    lost = len(sample) - pending - len(text.encode())
    high = len(sample) - pending - len(sample.translate(None, bytes(range(128, 256))))
    return 1.0 if lost == 0 else 1.0 - lost / max(high, 1)
