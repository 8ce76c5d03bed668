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
# Bytes above 127 that stand alone are accents; what reads them in pairs turns a £ into half a character.
_SINGLE, _FEW_RUNS = 0.7, 30
_PAIRED = {"gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "cp949", "euc_kr", "johab", "cp932"}
_PAIRED |= {"shift_jis", "shift_jisx0213", "shift_jis_2004", "euc_jp", "euc_jis_2004", "euc_jisx0213"}
# A third of any Chinese text, old or new, and hardly any of a text that is wrongly decoded into Chinese.
_COMMON = set(
    "，。、？！：；“”（）《》「」　"
    "的一是不了在人有我他这这這个個们們来來到时時大地为為子中你说說生国國年着就那和要她出也得里裡后後自以会會家可下而过過天去能对對"
    "小多然于於心学學么麼之都好看起发發当當没沒成只如事把还還用第样樣道想作种種开開美总總从從无無情己面最女但现現前些所同日手又行"
    "意动動方期它头頭经經长長儿兒回位分爱愛老因很给給名法间間斯知世什两兩次使身者被高已亲親其进進此话話常与與活正感"
    "風风雲云月花山水春秋夜雨江海白青千萬万何君相飛飞落歸归客酒遠远空門门歌故處处深明新清寒古今朝玉金馬马詩诗"
)
_CHINESE = 0.12


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
    chinese = max(("gb18030", "big5"), key=lambda name: _chinese_share(sample, name))
    return chinese if _chinese_share(sample, chinese) > _CHINESE else _guess(sample)


def _guess(sample: bytes) -> str:
    """Return the encoding of text that is neither UTF-8 nor Chinese."""
    runs = re.findall(rb"[\x80-\xff]+", sample)
    western = sum(len(run) == 1 for run in runs) > _SINGLE * len(runs)
    if western and len(runs) < _FEW_RUNS:
        return "cp1252"
    from charset_normalizer import from_bytes

    guess = from_bytes(sample).best()
    if guess is None:
        return "utf-8"
    return "cp1252" if western and guess.encoding in _PAIRED else guess.encoding


def _chinese_share(sample: bytes, encoding: str) -> float:
    """Return the share of very common characters and punctuation among all that are not ASCII."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return 0.0
    others = [character for character in text if character > "\x7f"]
    kana = sum("\u3041" <= character <= "\u30ff" for character in others)
    common = sum(character in _COMMON for character in others)
    return 0.0 if kana > 0.1 * len(others) else common / max(len(others), 1)


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
