"""An HTTP response as a crawler stored it: status, headers, and a body that may be packed and in chunks."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import zstandard

_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/[\d.]+\s+(\d{3})\b")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.I)


class BrokenBody(Exception):
    """Why a body cannot be unpacked."""


class Response(NamedTuple):
    """A response whose body is still as it was sent."""

    status: int
    kind: str
    """The media type in lower case, without parameters."""
    charset: str | None
    headers: Mapping[str, str]
    """By their names in lower case."""
    sent: bytes

    def body(self, largest: int) -> bytes:
        """Return the body joined and unpacked; raises `BrokenBody` for a torn one, or one above `largest`.

        Some crawlers unpack the body and keep the headers: a body that does not begin like what the headers
        say is taken as it is.
        """
        body = self.sent
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            body = joined(body)
        encodings = self.headers.get("content-encoding", "").lower().split(",")
        for encoding in reversed([name.strip() for name in encodings if name.strip()]):
            body = _unpacked(body, encoding, largest)
        return body


def response(block: bytes) -> Response:
    """Return the response that a record holds; raises `BrokenBody` when it is none."""
    status = _STATUS.match(block)
    if status is None:
        raise BrokenBody("holds no HTTP response")
    end = _END.search(block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    lines = [line.partition(":") for line in head.decode("latin-1").splitlines()[1:]]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    declared = headers.get("content-type", "")
    kind = declared.partition(";")[0].strip().lower()
    return Response(int(status[1]), kind, charset(declared), headers, body)


def charset(declared: str) -> str | None:
    """Return the encoding that a content type names, if there is one of that name.

    >>> charset("text/html; charset=GB2312"), charset("text/html; charset=none")
    ('gb18030', None)
    """
    match = _CHARSET.search(declared)
    try:
        name = codecs.lookup(match[1]).name if match else None
    except LookupError:
        return None
    return "gb18030" if name in ("gb2312", "gbk") else name


def joined(body: bytes) -> bytes:
    """Return the chunks of a body joined.

    >>> joined(b"3\\r\\nabc\\r\\n2;x\\r\\nde\\r\\n0\\r\\n\\r\\n")
    b'abcde'
    """
    at = 0
    parts: list[bytes] = []
    while True:
        chunk = _CHUNK.match(body, at)
        if chunk is None and at == 0:
            return body
        size = int(chunk[1], 16) if chunk else -1
        if chunk is None or chunk.end() + size > len(body):
            raise BrokenBody("ends in the middle of a chunk")
        if size == 0:
            return b"".join(parts)
        parts.append(body[chunk.end() : chunk.end() + size])
        at = chunk.end() + size
        at += 2 if body.startswith(b"\r\n", at) else 1


def _unpacked(body: bytes, encoding: str, largest: int) -> bytes:
    if encoding in ("identity", "none", "utf-8"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, 31, largest) if body.startswith(b"\x1f\x8b") else body
    if encoding == "deflate":
        # Half of the servers send the bare stream.
        is_wrapped = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflated(body, 15 if is_wrapped else -15, largest)
    if encoding == "zstd":
        return _unzstd(body, largest) if body.startswith(b"\x28\xb5\x2f\xfd") else body
    raise BrokenBody(f"is packed with {encoding[:20]!r}, which no reader unpacks")


def _inflated(body: bytes, window: int, largest: int) -> bytes:
    unpacking = zlib.decompressobj(window)
    try:
        found = unpacking.decompress(body, largest + 1)
    except zlib.error as error:
        raise BrokenBody(f"cannot be unpacked ({error})") from error
    if len(found) > largest:
        raise BrokenBody(f"unpacks to more than {largest >> 20} MiB")
    if not unpacking.eof:
        raise BrokenBody("ends in the middle of what it packs")
    return found


def _unzstd(body: bytes, largest: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(body) as stream:
            found = stream.read(largest + 1)
    except zstandard.ZstdError as error:
        raise BrokenBody(f"cannot be unpacked ({error})") from error
    if len(found) > largest:
        raise BrokenBody(f"unpacks to more than {largest >> 20} MiB")
    return found
