"""Recognises what machines are called by: e-mail, URLs with credentials, IP and MAC addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from rootlm.text.personal.personal_values import Finding, matches

_LOCAL = re.compile(r"[A-Za-z0-9_%+'.-]{1,64}")
_DOMAIN = re.compile(r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})(?![A-Za-z0-9@])")
# icon@2x.png is a picture, git@host the same for everybody.
_NO_DOMAIN = re.compile(r"[1-9]x\.", re.IGNORECASE)
_NOBODY = frozenset(("git", "svn", "hg"))
_RESERVED = re.compile(r"(?:.*\.)?(?:example(?:\.(?:com|org|net))?|invalid|test|localhost)", re.IGNORECASE)

_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20})://([^\s/@:]{1,64})(?::([^\s/@]{1,128}))?$")
_HOST = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")
_TOKEN_CHARACTERS = 16

_IP4 = re.compile(r"(?<![0-9A-Za-z_.])(?<![A-Za-z]/)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9])")
_VERSION = re.compile(
    r"(?:\b(?:version|ver|release|rev|build|firmware|driver|section|chapter|clause|appendix|table|figure|fig|"
    r"item|step|v|rfc|python|java|chrome|firefox|ios|macos|android|kernel|updated? to|upgraded? to)\b|"
    r"版本|版|固件|驱动|升级到|升级至|更新到|更新至|章节|小节|第|条|条款|节|图|表|附录)[号是为\s:：.#-]{0,3}$",
    re.IGNORECASE,
)
_VERSION_AFTER = re.compile(r"\s?(?:节|章|条|款|版|小节|项)")
_HOST_WORD = re.compile(
    r"(?:ip|host|address|server|dns|ping|ssh|gateway|地址|主机|服务器|网关|登录)\W{0,4}\w{0,4}\W{0,4}$",
    re.IGNORECASE,
)
_TESTING = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8::/32"),
    )
)
_LOCAL_NETS = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)
# All that is given out so far (RFC 4291); it keeps abc::def, a name in a program, from being an address.
_PUBLIC_IP6 = ipaddress.ip_network("2000::/3")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IP6_PART = re.compile(r"[0-9A-Fa-f:.]{0,45}")
_MAC = re.compile(
    r"(?<![0-9A-Za-z_-])(?<![^0-9A-Za-z][0-9A-Fa-f]{2}:)(?:[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})|"
    r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![0-9A-Za-z_]|[:.-][0-9A-Fa-f])"
)
_MAC_MIDDLE = re.compile(
    r":[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:|-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-|\.[0-9A-Fa-f]{4}\."
)


def addresses(text: str) -> Iterator[Finding]:
    """Yield e-mail addresses and URLs with a login, looking around every @."""
    at = text.find("@")
    while at >= 0:
        found = _login(text, at) or _mail(text, at)
        if found:
            yield found
        at = text.find("@", at + 1)


def _mail(text: str, at: int) -> Finding | None:
    domain = _DOMAIN.match(text, at + 1)
    local = _LOCAL.match(text[max(at - 64, 0) : at][::-1])
    if domain is None or local is None:
        return None
    # A quoted 'a@b.com' keeps its quotes, and the dots of a table of contents are no name.
    name = local[0][::-1].lstrip(".'%+-")
    if not name or name.endswith(".") or name.lower() in _NOBODY:
        return None
    if _NO_DOMAIN.match(domain[1]) or _RESERVED.fullmatch(domain[1]):
        return None
    return Finding(at - len(name), domain.end(), "email", f"{name}@{domain[1]}".lower())


def _login(text: str, at: int) -> Finding | None:
    before = max(at - 216, 0)
    login = _LOGIN.search(text, before, at)
    host = _HOST.match(text, at + 1)
    if login is None or host is None or _RESERVED.fullmatch(host[1].rstrip(".")):
        return None
    if login[3] is None and len(login[2]) < _TOKEN_CHARACTERS:
        return None
    url = text[login.start() : host.end()].rstrip(".,;:!?)]}>\"'")
    return Finding(login.start(), login.start() + len(url), "url", url)


def ip4(text: str, first: int, last: int, private: bool) -> Iterator[Finding]:
    """Yield IPv4 addresses, but no version and no section: 1.2.3.4 needs a word like `host` before it."""
    for match in matches(_IP4, text, first, last):
        start, end = match.span()
        before = text[max(start - 24, 0) : start]
        written = match[0].split(".")
        parts = [int(part) for part in written]
        if max(parts) > 255 or any(len(part) > 1 and part[0] == "0" for part in written):
            continue
        if _VERSION.search(before) or _VERSION_AFTER.match(text, end):
            continue
        if max(parts) < 10 and not _HOST_WORD.search(before):
            continue
        if _is_wanted(ipaddress.IPv4Address(match[0]), private):
            yield Finding(start, end, "ip", match[0])


def ip6(text: str, private: bool) -> Iterator[Finding]:
    """Yield IPv6 addresses, whole or shortened."""
    seen = 0
    for colons in _COLONS.finditer(text):
        if colons.start() < seen:
            continue
        left = _IP6_PART.match(text[max(colons.start() - 45, 0) : colons.start()][::-1])
        right = _IP6_PART.match(text, colons.start())
        if left is None or right is None:
            continue
        start, seen = colons.start() - left.end(), right.end()
        part = text[start:seen]
        # A colon of the sentence is none of the address.
        if part.startswith(":") and not part.startswith("::"):
            start += 1
        found = text[start:seen].rstrip(".")
        if found.endswith(":") and (found.endswith(":::") or not found.endswith("::")):
            found = found[:-1]
        end = start + len(found)
        if text[start - 1 : start].isascii() and text[start - 1 : start].isalnum():
            continue
        if text[end : end + 1].isascii() and text[end : end + 1].isalnum():
            continue
        try:
            address = ipaddress.IPv6Address(found)
        except ValueError:
            continue
        if _is_wanted(address, private):
            yield Finding(start, end, "ip", str(address))


def _is_wanted(address: ipaddress.IPv4Address | ipaddress.IPv6Address, private: bool) -> bool:
    """Public addresses always, those of a home or an office when asked, made-up and special ones never."""
    if any(address in net for net in _TESTING if net.version == address.version):
        return False
    if any(address in net for net in _LOCAL_NETS if net.version == address.version):
        return private
    if address.version == 6:
        return address in _PUBLIC_IP6
    return address.is_global and not address.is_multicast


def mac(text: str) -> Iterator[Finding]:
    """Yield hardware addresses; one without any letter is taken for a time stamp."""
    if _MAC_MIDDLE.search(text) is None:
        return
    for match in _MAC.finditer(text):
        value = re.sub("[:.-]", "", match[0]).lower()
        if value.isdigit() or value == "f" * 12 or value.startswith(("020000", "00005e0053")):
            continue
        if "." in match[0] and value.isalpha():
            continue
        yield Finding(match.start(), match.end(), "mac", value)
