"""Labelled sentences for redaction, Chinese and English: what must be found in them, and what must not.

Values come from faker and from makers written here, apart from the recognisers; all are drawn with one seed.
A sentence without labels is a hard negative: it holds numbers that look like personal data and are none.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from typing import NamedTuple

from faker import Faker


class Label(NamedTuple):
    """A value in a sentence."""

    kind: str
    start: int
    end: int


class Case(NamedTuple):
    """A sentence with everything in it that is to be found."""

    text: str
    language: str
    labels: tuple[Label, ...]


PER_KIND = 90
PER_FAMILY = 40
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
Maker = Callable[[random.Random], str]


def cases(seed: int = 20) -> list[Case]:
    """Return the tables: about 1,900 values in sentences and 1,700 sentences with none."""
    random_numbers = random.Random(seed)
    faker = Fakes(seed)
    return [*positives(random_numbers, faker), *negatives(random_numbers, faker)]


class Fakes:
    """The faker generators, seeded."""

    def __init__(self, seed: int) -> None:
        self.zh, self.en = Faker("zh_CN"), Faker("en_US")
        self.banks = [Faker(name) for name in ("en_GB", "de_DE", "fr_FR", "it_IT", "nl_NL", "es_ES", "pl_PL")]
        for number, one in enumerate([self.zh, self.en, *self.banks]):
            one.seed_instance(seed + number)


# ---- values ----------------------------------------------------------------------------------------------


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _luhn_total(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total


def card(rng: random.Random, start: str, length: int) -> str:
    body = start + _digits(rng, length - len(start) - 1)
    return body + str(-_luhn_total(body + "0") % 10)


def broken(rng: random.Random, number: str) -> str:
    """Change the last character into another digit."""
    return number[:-1] + rng.choice([digit for digit in "0123456789" if digit != number[-1]])


def credit_code(rng: random.Random) -> str:
    characters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    region = rng.choice(("110108", "310115", "440305", "330106", "510104", "420111", "350102"))
    body = rng.choice(("91", "92", "93", "52", "12", "11")) + region
    body += "".join(rng.choice(characters if rng.random() < 0.3 else "0123456789") for _ in range(9))
    total = sum(characters.index(one) * 3**place for place, one in enumerate(body))
    return body + characters[(31 - total % 31) % 31]


def _grouped(rng: random.Random, digits: str) -> str:
    sign = rng.choice(("", "", " ", "-"))
    return sign.join(digits[start : start + 4] for start in range(0, len(digits), 4)) if sign else digits


def bank_card(rng: random.Random, faker: Fakes) -> str:
    if rng.random() < 0.5:
        kinds = ("visa16", "visa19", "mastercard", "discover", "visa13")
        return _grouped(rng, faker.en.credit_card_number(rng.choice(kinds)))
    start, length = rng.choice(
        (
            ("3530", 16),
            ("622848", 19),
            ("621700", 19),
            ("622588", 16),
            ("955880", 19),
            ("601382", 19),
            ("625912", 16),
        )
    )
    return _grouped(rng, card(rng, start, length))


def chinese_phone(rng: random.Random, faker: Fakes) -> str:
    if rng.random() < 0.7:
        number = faker.zh.phone_number()
        sign = rng.choice(("", "", "", "-", " "))
        number = sign.join((number[:3], number[3:7], number[7:]))
        return rng.choice(("", "", "", "+86", "+86 ", "+86-", "0086")) + number
    area = rng.choice(("010", "021", "020", "028", "0571", "0755", "0512", "0731", "0991"))
    local = rng.choice("3568") + _digits(rng, 7 if len(area) == 3 else rng.choice((6, 7)))
    return rng.choice((f"{area}-{local}", f"({area}){local}", f"{area} {local}", f"{area}{local}"))


def english_phone(rng: random.Random, faker: Fakes) -> str:
    if rng.random() < 0.75:
        return faker.en.phone_number()
    return rng.choice(
        (
            f"+44 20 7{_digits(rng, 3)} {_digits(rng, 4)}",
            f"+44 7{_digits(rng, 3)} {_digits(rng, 6)}",
            f"+49 30 {_digits(rng, 8)}",
            f"+33 6 {_digits(rng, 2)} {_digits(rng, 2)} {_digits(rng, 2)} {_digits(rng, 2)}",
            f"+81 3-{_digits(rng, 4)}-{_digits(rng, 4)}",
            f"+65{rng.choice('89')}{_digits(rng, 7)}",
            f"+852 {rng.choice('569')}{_digits(rng, 3)} {_digits(rng, 4)}",
            f"+61 4{_digits(rng, 2)} {_digits(rng, 3)} {_digits(rng, 3)}",
        )
    )


def id_card(rng: random.Random, faker: Fakes) -> str:
    number: str = faker.zh.ssn()
    if rng.random() < 0.15:
        return number[:6] + "".join(
            (
                f"{rng.randint(50, 79)}",
                f"{rng.randint(1, 12):02}",
                f"{rng.randint(1, 28):02}",
                _digits(rng, 3),
            )
        )
    return number.lower() if rng.random() < 0.2 else number


def chinese_passport(rng: random.Random, faker: Fakes) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    return rng.choice(
        (f"E{_digits(rng, 8)}", f"G{_digits(rng, 8)}", f"E{rng.choice(letters)}{_digits(rng, 7)}")
    )


PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"


def plate(rng: random.Random, faker: Fakes) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    if rng.random() < 0.3:
        tail = rng.choice(
            (f"{rng.choice('DF')}{rng.choice(letters)}{_digits(rng, 4)}", f"{_digits(rng, 5)}D")
        )
    else:
        tail = list(_digits(rng, 5))
        for place in rng.sample(range(5), rng.choice((0, 1, 2))):
            tail[place] = rng.choice(letters)
        tail = "".join(tail)
    return rng.choice(PROVINCES) + rng.choice(letters[:12]) + rng.choice(("", "", "·")) + tail


def ip(rng: random.Random, faker: Fakes) -> str:
    if rng.random() < 0.6:
        while True:
            address = ipaddress.ip_address(faker.en.ipv4_public())
            if address.is_global and not str(address).startswith(("198.18.", "198.19.")):
                return str(address)
    first = rng.choice((0x2400, 0x2408, 0x240E, 0x2A02, 0x2607, 0x2620))
    groups = [first, *(rng.choice((0, 0, rng.randrange(1 << 16))) for _ in range(7))]
    address = ipaddress.IPv6Address(":".join(f"{group:x}" for group in groups))
    return rng.choice((str(address), str(address), address.exploded, str(address).upper()))


def mac(rng: random.Random, faker: Fakes) -> str:
    address: str = faker.en.mac_address()
    return rng.choice((address, address.upper(), address.replace(":", "-").upper()))


def url(rng: random.Random, faker: Fakes) -> str:
    scheme = rng.choice(("https", "http", "ftp", "postgresql", "mongodb", "redis"))
    tail = rng.choice(("", "/data", ":8080/api?page=2", "/db_1"))
    login = f"{faker.en.user_name()}:{faker.en.password(10, special_chars=False)}"
    return f"{scheme}://{login}@{faker.en.domain_name()}{tail}"


def iban(rng: random.Random, faker: Fakes) -> str:
    code: str = rng.choice(faker.banks).iban()
    return (
        " ".join(code[start : start + 4] for start in range(0, len(code), 4)) if rng.random() < 0.5 else code
    )


def mail(fake: Faker, rng: random.Random) -> str:
    makers = (fake.free_email, fake.company_email, lambda: fake.email(safe=False))
    address: str = rng.choice(makers)()
    if rng.random() < 0.2:
        name, _, domain = address.partition("@")
        return f"{name}{rng.choice(('.li', '_88', '+news', '-2'))}@{rng.choice(('mail.', ''))}{domain}"
    return address


_CITIES = (
    ("浙江省", "杭州市", "西湖区"),
    ("广东省", "深圳市", "南山区"),
    ("四川省", "成都市", "武侯区"),
    ("江苏省", "苏州市", "昆山市"),
    ("湖南省", "长沙市", "岳麓区"),
    ("", "北京市", "海淀区"),
    ("", "上海市", "浦东新区"),
    ("河南省", "郑州市", "中牟县"),
    ("广西壮族自治区", "南宁市", "青秀区"),
)
_ROADS = (
    "中山路",
    "人民东路",
    "解放大道",
    "文一西路",
    "学院路",
    "建国门外大街",
    "科技园南路",
    "长江西路",
    "和平里三巷",
    "南锣鼓巷",
    "幸福村",
)


def chinese_address(rng: random.Random, faker: Fakes) -> str:
    province, city, district = rng.choice(_CITIES)
    road = rng.choice(_ROADS) if rng.random() < 0.6 else faker.zh.street_name()
    front = rng.choice((province + city + district, city + district, district, province + city, ""))
    house = rng.choice((f"{rng.randint(1, 999)}号", f"{rng.randint(1, 99)}弄{rng.randint(1, 30)}号"))
    more = rng.choice(
        ("", "", f"{rng.randint(1, 9)}号楼{rng.randint(101, 2801)}室", f"{rng.randint(2, 20)}栋", "A座1203室")
    )
    return front + road + house + more


ZH: dict[str, tuple[Callable[[random.Random, Fakes], str], tuple[str, ...]]] = {
    "email": (
        lambda rng, fake: mail(fake.zh, rng),
        ("邮箱是{}", "请发邮件至{}联系他。", "简历投递：{}", "他的{}已经停用"),
    ),
    "phone": (
        chinese_phone,
        (
            "手机{}",
            "联系电话：{}。",
            "请拨打{}咨询",
            "王先生的号码是{}，随时可以打",
            "微信同号{}",
            "有事找小李（{}）",
        ),
    ),
    "id_card": (id_card, ("身份证号{}", "本人身份证号码为{}，特此证明。", "证件：{}", "登记人张三{}男")),
    "passport": (chinese_passport, ("护照号{}", "护照号码：{}", "持{}号护照入境", "登记了护照{}的信息")),
    "bank_card": (
        bank_card,
        ("卡号{}", "请打到{}，户名李四。", "工资卡：{}", "尾号核对无误的银行卡{}已绑定"),
    ),
    "plate": (plate, ("车牌{}", "一辆{}的小轿车闯红灯", "请{}的车主速来挪车", "停着{}，没有熄火")),
    "ip": (ip, ("登录地址{}", "来自{}的访问", "攻击者的IP为{}。", "用户从{}登录")),
    "mac": (mac, ("网卡{}", "设备的物理地址是{}。", "MAC：{}", "手机{}接入了网络")),
    "url": (url, ("数据库连接{}", "地址是{} 不要外传", "克隆{}", "配置写成{}，报错")),
    "iban": (iban, ("收款账号{}", "请汇到{}。", "境外账户：{}", "账户{}余额不足")),
    "credit_code": (
        lambda rng, fake: credit_code(rng),
        ("统一社会信用代码{}", "信用代码：{}", "该公司（{}）已注销", "税号为{}，请开票"),
    ),
    "address": (
        chinese_address,
        ("地址：{}", "我住在{}。", "请寄到{}，谢谢", "公司位于{}，交通便利", "案发地点在{}附近"),
    ),
}
EN: dict[str, tuple[Callable[[random.Random, Fakes], str], tuple[str, ...]]] = {
    "email": (
        lambda rng, fake: mail(fake.en, rng),
        ("Write to {}.", "My address is {}, use it.", "from: {}", "<{}> wrote:", "({})", "cc {}; thanks"),
    ),
    "phone": (
        english_phone,
        (
            "Call {} after six.",
            "Phone: {}",
            "Her number is {}.",
            "You can reach me at {}, any time.",
            "Text {} to join",
            "mobile {}",
        ),
    ),
    "ssn": (
        lambda rng, fake: fake.en.ssn(),
        ("SSN: {}", "His social security number is {}.", "The form said {}.", "on file ({})"),
    ),
    "passport": (
        lambda rng, fake: fake.en.passport_number(),
        ("Passport no. {}", "Her passport number is {}.", "travelled on passport {}", "US Passport: {}"),
    ),
    "bank_card": (
        bank_card,
        ("Card {} was charged.", "Paid with {}.", "card number: {}", "My Visa is {}, expires 04/29"),
    ),
    "id_card": (
        id_card,
        ("Chinese ID {}", "resident identity card: {}", "born with ID no. {}.", "registered as {}"),
    ),
    "ip": (
        ip,
        ("Login from {}.", "host {} is down", "the server at {} answered", "blocked {}: too many requests"),
    ),
    "mac": (mac, ("MAC {}", "device {} joined", "hardware address: {}.", "seen {} on eth0")),
    "url": (url, ("DATABASE_URL={}", "clone {} first", "Use {}, please.", "see <{}>")),
    "iban": (iban, ("IBAN {}", "Wire it to {}.", "account: {}", "Send the rent to {} today")),
    "address": (
        lambda rng, fake: fake.en.street_address(),
        (
            "He lives at {}.",
            "Ship to {}, Springfield, IL 62704",
            "Address: {}",
            "The office at {} is closed.",
        ),
    ),
}


def positives(rng: random.Random, faker: Fakes) -> list[Case]:
    found = []
    for language, table in (("zh", ZH), ("en", EN)):
        for kind, (maker, sentences) in table.items():
            for number in range(PER_KIND):
                value = maker(rng, faker)
                if language == "zh" and kind != "address" and rng.random() < 0.06:
                    value = value.translate(_WIDE)
                before, _, after = sentences[number % len(sentences)].partition("{}")
                label = Label(kind, len(before), len(before) + len(value))
                found.append(Case(before + value + after, language, (label,)))
    return found


# ---- what looks like a value and is none -----------------------------------------------------------------

_POEMS = (
    "飞流直下三千尺，疑是银河落九天。（第{}首）",
    "两个黄鹂鸣翠柳，一行白鹭上青天。见卷{}。",
    "故人西辞黄鹤楼，烟花三月下扬州。注释{}条",
    "一去二三里，烟村四五家，亭台六七座，八九十枝花。共{}字",
)


def _isbn13(rng: random.Random) -> str:
    body = "9787" + _digits(rng, 8)
    return body + str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) % 10)


def _hyphened_isbn(rng: random.Random) -> str:
    code = _isbn13(rng)
    return f"{code[:3]}-{code[3]}-{code[4:7]}-{code[7:12]}-{code[12]}"


def _number(rng: random.Random, low: int = 10, high: int = 20) -> str:
    return rng.choice("123456789") + _digits(rng, rng.randint(low, high) - 1)


def _version(rng: random.Random) -> str:
    return f"{rng.randint(0, 20)}.{rng.randint(0, 30)}.{rng.randint(0, 9999)}.{rng.randint(0, 250)}"


def _time(rng: random.Random) -> str:
    day = f"{rng.randint(1970, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
    both = f"{day} {clock}"
    return rng.choice((day, clock, both, both.replace("-", "/"), "".join(c for c in both if c.isdigit())))


def _money(rng: random.Random) -> str:
    return f"{rng.randint(1, 10 ** rng.randint(3, 10)):,}.{_digits(rng, 2)}"


def _private(rng: random.Random) -> str:
    tail = f"{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    return rng.choice(
        (f"192.168.{tail}", f"10.0.{tail}", f"172.16.{tail}", "127.0.0.1", "0.0.0.0", "fe80::1")
    )


def _hash(rng: random.Random) -> str:
    text = "".join(rng.choice("0123456789abcdef") for _ in range(40))
    uuid = f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"
    pairs = ":".join(text[start : start + 2] for start in range(0, 40, 2))
    return rng.choice((text, uuid, pairs, text[:32], f"0x{text[:16]}"))


def _bad_phone(rng: random.Random) -> str:
    return rng.choice(
        (
            f"1{rng.choice('012')}{_digits(rng, 9)}",
            f"138{_digits(rng, 9)}",
            f"86138{_digits(rng, 10)}",
            f"0{_digits(rng, 6)}",
        )
    )


def negatives(rng: random.Random, faker: Fakes) -> list[Case]:
    def bad_id() -> str:
        return broken(rng, faker.zh.ssn())

    def bad_card() -> str:
        return _grouped(rng, broken(rng, card(rng, rng.choice(("6228", "4", "5425", "3528")), 16)))

    def bad_code() -> str:
        return broken(rng, credit_code(rng))

    def bad_iban() -> str:
        code = rng.choice(faker.banks).iban()
        return code[:2] + f"{(int(code[2:4]) + 7) % 90 + 2:02}" + code[4:]

    def phone() -> str:
        return "1" + rng.choice(("38", "59", "86", "99")) + _digits(rng, 8)

    def good_card() -> str:
        return card(rng, rng.choice(("6222", "4539", "5200")), 16)

    def small() -> str:
        return str(rng.randint(1, 400))

    chinese: tuple[tuple[str, Callable[[], str]], ...] = (
        ("订单号：{}", lambda: rng.choice((phone(), good_card(), _number(rng)))),
        ("快递单号{}已签收", lambda: rng.choice((_number(rng, 12, 15), phone(), "SF" + _digits(rng, 13)))),
        ("编码{}校验未通过", lambda: rng.choice((bad_id(), bad_code(), bad_card(), bad_iban()))),
        ("共计￥{}，已付清。", lambda: _money(rng)),
        ("总额达到{}元", lambda: rng.choice((_money(rng), phone(), _number(rng, 6, 12)))),
        ("累计{}次访问", lambda: rng.choice((phone(), _number(rng, 5, 12)))),
        ("书号ISBN {}", lambda: rng.choice((_isbn13(rng), _hyphened_isbn(rng)))),
        ("条形码{}", lambda: "69" + _digits(rng, 11)),
        ("写于{}。", lambda: _time(rng)),
        ("升级到版本{}之后", lambda: _version(rng)),
        (
            "参见第{}节",
            lambda: f"{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 12)}",
        ),
        ("圆周率约为3.{}", lambda: _digits(rng, rng.randint(10, 20))),
        ("流水号{}，请保存", lambda: rng.choice((phone(), _number(rng, 15, 19), good_card()))),
        ("内网{}可用", lambda: _private(rng)),
        ("校验值{}", lambda: _hash(rng)),
        ("乘坐地铁{}号线到人民路站", small),
        ("沿中山路往东，{}号台风登陆", small),
        ("国办发〔2019〕{}号文件", small),
        ("今天是5月{}号，天气晴", lambda: str(rng.randint(1, 31))),
        ("数字{}没有意义", lambda: rng.choice((_bad_phone(rng), bad_id(), _digits(rng, 21)))),
        ("邮编{}，人口{}万", lambda: _digits(rng, 6)),
        ("@小明 看这张图 icon@2x.png 第{}页", small),
        ("坐标{}", lambda: f"39.{_digits(rng, 6)}, 116.{_digits(rng, 6)}"),
        ("江苏A级景区{}家，甘C类{}个", small),
        *((poem, small) for poem in _POEMS),
    )
    english: tuple[tuple[str, Callable[[], str]], ...] = (
        ("Order #{}", lambda: rng.choice((phone(), good_card(), _number(rng)))),
        ("Tracking number {} was delivered.", lambda: rng.choice((_number(rng, 10, 20), good_card()))),
        ("The code {} fails its check.", lambda: rng.choice((bad_id(), bad_code(), bad_card(), bad_iban()))),
        ("It cost ${}.", lambda: _money(rng)),
        ("about {} people", lambda: rng.choice((_money(rng)[:-3], _number(rng, 5, 11)))),
        (
            "ISBN {}",
            lambda: rng.choice((_isbn13(rng), _hyphened_isbn(rng), "0-306-" + _digits(rng, 5) + "-2")),
        ),
        ("On {} it rained.", lambda: _time(rng)),
        ("Upgrade to version {} now.", lambda: _version(rng)),
        ("Chrome/{} Safari", lambda: _version(rng)),
        (
            "see section {}",
            lambda: f"{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}.{rng.randint(1, 12)}",
        ),
        ("pi is 3.{}", lambda: _digits(rng, rng.randint(10, 20))),
        (
            "Invoice no. {}",
            lambda: rng.choice((f"{_digits(rng, 3)}-{_digits(rng, 2)}-{_digits(rng, 4)}", good_card())),
        ),
        (
            "Part number {} is sold out",
            lambda: f"{rng.randint(201, 989)}-{rng.randint(201, 989)}-{_digits(rng, 4)}",
        ),
        ("the gateway {} is inside", lambda: _private(rng)),
        ("commit {}", lambda: _hash(rng)),
        ("In {} Wall Street crashed.", lambda: str(rng.randint(1880, 2020))),
        ("He wrote, in {}, The Road to Nowhere", lambda: str(rng.randint(1880, 2020))),
        ("In {} The Road was a success", lambda: str(rng.randint(1880, 2020))),
        ("pages {}, chapter 7", lambda: f"{rng.randint(1, 400)}-{rng.randint(401, 999)}"),
        ("Won {} in extra time", lambda: f"{rng.randint(1, 99)}-{rng.randint(1, 99)}-{rng.randint(1, 99)}"),
        (
            "A number such as {} means nothing.",
            lambda: rng.choice((_bad_phone(rng), bad_id(), _digits(rng, 21))),
        ),
        ("npm install left-pad@{} and @types/node", lambda: _version(rng).rpartition(".")[0]),
        ("CAS {} is water", lambda: f"{_digits(rng, 4)}-{_digits(rng, 2)}-{_digits(rng, 1)}"),
        ("Sing a song of sixpence, {} blackbirds baked in a pie", small),
        ("doi:10.1000/{}", lambda: _digits(rng, rng.randint(6, 12))),
    )
    found = []
    for language, families in (("zh", chinese), ("en", english)):
        for sentence, maker in families:
            for _ in range(PER_FAMILY):
                text = sentence
                while "{}" in text:
                    text = text.replace("{}", maker(), 1)
                found.append(Case(text, language, ()))
    return found


# ---- scores ----------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """How one kind was found in one language."""

    hits: int
    missed: int
    wrong: int

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        return self.hits / (self.hits + self.wrong) if self.hits + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Share of what is there that was found."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else 1.0


def is_hit(label: Label, start: int, end: int, strict: bool = True) -> bool:
    """A value must be found whole, neither more nor less; an address, and whatever is not judged strictly,
    counts when four fifths of it are found.
    """
    if strict and label.kind != "address":
        return (label.start, label.end) == (start, end)
    shared = min(end, label.end) - max(start, label.start)
    return shared >= 0.8 * (label.end - label.start)


def scores(
    table: list[Case], find: Callable[[str], list[tuple[str, int, int]]], strict: bool = True
) -> tuple[dict[tuple[str, str], Score], list[str]]:
    """Return the score of every (kind, language), and the sentences with a mistake; every kind is asked for."""
    counts: dict[tuple[str, str], list[int]] = {}
    mistakes = []
    for case in table:
        found = find(case.text)
        wrong = list(found)
        for label in case.labels:
            right = [one for one in found if one[0] == label.kind and is_hit(label, one[1], one[2], strict)]
            counts.setdefault((label.kind, case.language), [0, 0, 0])[0 if right else 1] += 1
            wrong = [one for one in wrong if one not in right]
            if not right:
                mistakes.append(f"missed {label.kind}: {case.text}")
        for kind, start, end in wrong:
            counts.setdefault((kind, case.language), [0, 0, 0])[2] += 1
            mistakes.append(f"wrong {kind} {case.text[start:end]}: {case.text}")
    return {key: Score(*one) for key, one in sorted(counts.items())}, mistakes
