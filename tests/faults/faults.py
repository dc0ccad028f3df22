"""What may befall an answer on its way, and what a read is then told."""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2

from ..support.servers.toxic_proxy import Phase, Spoil
from ..support.servers.toxic_server import Answer, Connection, endless, raw, whole

SECRET = "hunter2-in-the-body"
STALLS = Connection.until_closed
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
BOMB = gzip.compress(b"0" * 10_000_000)


@dataclass(frozen=True)
class Fault:
    """`told`: the codes that a read may end with while it lasts, "" for a result."""

    spoil: Spoil
    told: frozenset[str]
    phases: tuple[Phase, ...] = ("outage", "before", "after")


def _told(spoil: Spoil, *codes: str) -> Fault:
    return Fault(spoil, frozenset(codes))


def _always(answer: Answer) -> Spoil:
    return lambda _: answer


def _announced(body: bytes, missing: int = 0) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body) + missing, body)


def _body(change: Callable[[bytes], bytes]) -> Spoil:
    """Return a fault that replaces the body of a complete response."""
    return lambda reply: whole(reply.status_code, change(reply.content))


def _dripped(reply: httpx2.Response) -> Answer:
    return endless(CHUNKED, b"1\r\n%b\r\n" % reply.content[:1], 0.05)


def _twice(body: bytes) -> bytes:
    """Return an object with each member twice: first with another value, then with its own."""
    return re.sub(rb'("[a-z_A-Z]+"):', rb'\1:{"0":[]},\1:', body)


async def _500_then_close(connection: Connection) -> None:
    await whole(500, SECRET.encode())(connection)
    await connection.close()


def _limited(retry_after: str) -> Fault:
    spoil = _always(whole(429, SECRET.encode(), f"Retry-After: {retry_after}"))
    return Fault(spoil, frozenset({"rate_limited"}), ("outage", "before"))  # nobody is refused after the fact


_TOMORROW = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
FAULTS: Mapping[str, Fault] = {
    "TLS": _told(_always(raw(TLS_ALERT)), "unavailable"),
    "header stall": _told(_always(STALLS), "timeout"),
    "body stall": _told(lambda reply: raw(_announced(reply.content, 1), STALLS), "timeout"),
    "a byte at a time": _told(_dripped, "timeout"),
    "reset in the body": _told(
        lambda reply: raw(_announced(reply.content[: len(reply.content) // 2], 99), Connection.reset), "unavailable"
    ),
    "short body": _told(lambda reply: raw(_announced(reply.content, 1)), "unavailable"),
    "bad JSON": _told(_body(lambda body: body + SECRET.encode()), "bad_response"),
    "NaN": _told(_body(lambda body: re.sub(rb":-?\d+(\.\d+)?", b":NaN", body)), "bad_response", ""),
    "bad UTF-8": _told(_body(lambda body: body.replace(b'"', b'"\xff', 1)), "bad_response"),
    "HTML 502": _told(_always(whole(502, b"<html>" + SECRET.encode(), "Content-Type: text/html")), "unavailable"),
    "wrong type": _told(_body(lambda _: b'"%b"' % SECRET.encode()), "bad_response"),
    "wrong schema": _told(_body(lambda _: json.dumps({SECRET: [{"id": {}}]}).encode()), "bad_response"),
    "gzip bomb": _told(_always(whole(200, BOMB, "Content-Encoding: gzip")), "bad_response"),
    "50 MB": _told(
        _always(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n", b" " * 65_536)), "bad_response"
    ),
    "429 with seconds": _limited("100"),
    "429 with a date": _limited(_TOMORROW),
    "429 with 10⁹ seconds": _limited("1000000000"),
    "429 with garbage": _limited("soon"),
    "503": _told(_always(whole(503, SECRET.encode())), "unavailable"),
    "500, then close": _told(_always(_500_then_close), "unavailable"),
    "302": _told(_always(whole(302, b"", f"Location: http://{SECRET}.example/")), "bad_response"),
    "empty 200": _told(_always(whole(200, b"")), "bad_response"),
    "duplicate keys": _told(_body(_twice), ""),
    "half-close": _told(_always(Connection.half_close), "unavailable"),
}
"""Those that a proxy can do; what keeps connections from being made stands beside their tests."""
