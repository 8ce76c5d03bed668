"""Recognises vehicle plates, and what looks like an address: 省市区路号, 123 Main Street.

An address has no check and no fixed form, so this is a guess: a named road with a house number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rootlm.text.personal.personal_values import Finding

_PROVINCE = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
# Neither I nor O is ever used. New-energy plates have six places, others five with at most two letters.
_PLATE = re.compile(
    f"[{_PROVINCE}][A-HJ-NP-Z][·•・. -]?(?:"
    "[A-HJ-K][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[A-HJ-K]|"
    "(?=(?:[0-9]*[A-HJ-NP-Z]){0,2}[0-9]*(?![A-Z0-9]))[A-HJ-NP-Z0-9]{5}|[A-HJ-NP-Z0-9][0-9]{3}[挂学警港澳])"
    "(?![A-Za-z0-9])"
)

_REGIONS = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|"
    "贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_HAN = "[\u4e00-\u9fff]"
_HAN_CHARACTER = re.compile(_HAN)
_ROAD_ENDS = "路|街|大道|道|巷|胡同|里弄|弄堂|村|庄|屯|社区|小区|花园|新村|公寓|家园|工业园|园区"
_NOT_A_ROAD = re.compile(
    "(?:[一不在走这那问铁公马半网水电线思套出岔道销归]路|知道|频道|通道|味道|赛道|农村|乡村|山村|街道|本村|全村)$"
)
_ROAD = re.compile(f"{_HAN}{{1,10}}(?:{_ROAD_ENDS})(?:{_HAN}{{1,3}}(?:段|里|巷))?[ ]?第?$")
# A region is one only with its suffix: 长江西路 lies in no 江西.
_REGION = re.compile(f"(?:{_REGIONS})(?:省|市|壮族自治区|回族自治区|维吾尔自治区|自治区|特别行政区)")
# A space is part of an address only between its parts: 浙江省 杭州市.
_STOP = re.compile("[^\u4e00-\u9fff ]|(?<![省市区县镇乡州盟旗道]) ")
# Words after which an address begins.
_LEAD = re.compile(
    "地址[是为]?|住址[是为]?|住在|家住|位于|坐落[于在]|寄[到至往给]|送[到至往]|搬[到至去]|来到|前往|设在|开在|现居|"
    "就在|收货|发[到往]|去了?|是|于|到|在|至|往|从|住|为"
)
_HOUSE = re.compile(
    "[0-9]{1,5}(?:-[0-9]{1,4})?[号弄](?!线|文|楼?梯|令|选手|球|种子|台风|公告|通知|机|电池|字|汽油|柴油|钢|店员|病|凌晨|早|晚|上午|下午|[0-9]{7})"
    "(?:[ ]?(?:院|楼|大厦|[A-Z0-9]{1,4}(?:号楼|号院|号|栋|幢|座|单元|门|层|楼|室|户|房)))*"
    "(?:[ ]?[0-9]{2,4}(?:-[0-9]{1,4})?(?![0-9年月日元万]))?"
)
_MADE_UP = re.compile("示例|Example ")

_SUFFIX = (
    "Streets?|St|Avenue|Ave|Roads?|Rd|Boulevard|Blvd|Lane|Ln|Drives?|Dr|Courts?|Ct|Place|Pl|Squares?|Sq|Way|"
    "Terrace|Ter|Parkways?|Pkwy|Highway|Hwy|Circles?|Cir|Trail|Trl|Alley|Crescent|Close|Row|Turnpike|Freeway|"
    "Expressway|Plaza|Loop|Pike|Crossing|Ridges?|Causeway|Esplanade|Mews|Path|Bend|Bypass|Cove|Creek|Crest|"
    "Divide|Glens?|Grove|Heights|Hollow|Junctions?|Knolls?|Landing|Lodge|Manors?|Mission|Motorway|Mount|"
    "Orchard|Overpass|Parkway|Passage|Pines|Ramp|Shoals?|Skyway|Spurs?|Station|Summit|Throughway|Trace|Track|"
    "Trafficway|Tunnel|Underpass|Unions?|Viaduct|Views?|Vista"
)
_STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|"
    "V[AT]|W[AIVY]"
)
_DIRECTION = r"(?:[NSEW]|[NS][EW]|North|South|East|West)\b\.?"
_NAME = r"(?:(?!(?:The|A|An|This|That|In|On|And|Of|My)\b)[A-Z][A-Za-z'’.-]{1,20}|[0-9]{1,3}(?:st|nd|rd|th))"
_FLAT = (
    r"(?:Apt|Apartment|Suite|Ste|Unit|Room|Rm|Floor|Fl)\b\.? ?#?[A-Za-z0-9-]{1,6}\b|# ?[A-Za-z0-9-]{1,6}\b"
)
_TOWN = rf"(?:[A-Z][A-Za-z.'-]{{1,20}} ?){{1,3}},? (?:{_STATES})\b,?(?: [0-9]{{5}}(?:-[0-9]{{4}})?)?"
# A road by its last word, or any name when a flat or a town with its state comes next.
_ENGLISH = re.compile(
    rf"(?<![0-9A-Za-z.,$£€#-])(?<!\d )[0-9]{{1,5}}[A-Za-z]?(?:-[0-9]{{1,4}})? (?:{_DIRECTION} )?"
    rf"(?:(?:{_NAME} ){{1,3}}(?:{_SUFFIX})\b\.?(?: {_DIRECTION})?(?:,? (?:{_FLAT}))?(?:,? {_TOWN})?|"
    rf"{_NAME}(?: {_NAME}){{1,2}}(?:,? (?:{_FLAT})(?:,? {_TOWN})?|, {_TOWN}))"
)
# In 1925 Wall Street … tells a year.
_YEAR = re.compile(r"(?:1[5-9]|20)[0-9]{2} ")
_WHEN = re.compile(
    r"\b(?:in|since|of|by|from|until|till|to|before|after|during|around|about|early|late|mid|circa|[A-Z][a-z]{2,8})"
    r" (?:[0-9]{1,2},? )?$",
    re.IGNORECASE,
)
_LAST_NUMBER = re.compile("[0-9]+(?:-[0-9]+)?[A-Za-z]?$")
_FARTHEST = 48


def plates(text: str) -> Iterator[Finding]:
    """Yield Chinese vehicle plates, of new-energy cars too."""
    for match in _PLATE.finditer(text):
        value = match[0][:2] + match[0][2:].lstrip("·•・. -")
        if any(character.isdigit() for character in value):
            yield Finding(match.start(), match.end(), "plate", value)


def is_chinese(address: str) -> bool:
    """Say whether an address is written in Han characters."""
    return _HAN_CHARACTER.search(address) is not None


def chinese_address(text: str, start: int) -> Iterator[Finding]:
    """Yield the address whose house number begins at `start`."""
    house = _HOUSE.match(text, start)
    before = text[max(start - _FARTHEST, 0) : start]
    road = _ROAD.search(before)
    if house is None or road is None or _NOT_A_ROAD.search(road[0].rstrip("第 ")):
        return
    begin = start - len(before) + _begin(before)
    whole = text[begin : house.end()].rstrip()
    if not _MADE_UP.search(whole):
        yield Finding(begin, begin + len(whole), "address", whole.replace(" ", ""))


def _begin(before: str) -> int:
    """Return where an address begins that runs to the end of `before`: at its region, else after a verb."""
    floors = [stop.end() for stop in _STOP.finditer(before.rstrip())]
    floor = floors[-1] if floors else 0
    regions = [region.start() for region in _REGION.finditer(before, floor)]
    if regions:
        return regions[-1]
    leads = [lead.end() for lead in _LEAD.finditer(before, floor) if len(before) - lead.end() >= 3]
    return leads[-1] if leads else floor


def english_address(text: str, start: int) -> Iterator[Finding]:
    """Yield the address whose house number begins at `start`."""
    match = _ENGLISH.match(text, start)
    if match is None or _MADE_UP.search(match[0]):
        return
    year = _YEAR.match(text, start) and _WHEN.search(text[max(start - 20, 0) : start])
    if "," in match[0] or not year:
        yield Finding(start, match.end(), "address", " ".join(match[0].split()))


def address_at_the_end(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield the address whose house number is the last of a longer run of digits."""
    number = _LAST_NUMBER.search(text, start, end)
    if number is None:
        return
    if text[end : end + 1] in ("号", "弄"):
        yield from chinese_address(text, number.start())
    elif text[end : end + 1] == " ":
        yield from english_address(text, number.start())
