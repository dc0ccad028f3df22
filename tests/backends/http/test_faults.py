"""After any fault of a server: an error of the right kind, in time, without the server's words; the next call works."""

import gzip
import logging
import socket
from dataclasses import dataclass

import anyio
import pytest

from mcp_sessions.backends.http.client import AnswerLost, HttpClient
from mcp_sessions.backends.http.credentials import Credential
from mcp_sessions.errors import (
    BadResponse,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    SessionsError,
    Timeout,
    Unauthorized,
    Unavailable,
)
from mcp_sessions.models import SessionDetail
from mcp_sessions.output.render import payload_of
from tests.support.servers.toxic_server import Answer, Connection, ToxicServer, endless, raw, toxic_server, whole

TOKEN = "hunter2-the-token"
BODY = b"hunter2-in-the-body"


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.variants)], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


STALLS = Connection.until_closed
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b"0" * 10_000_000)


@dataclass
class Fault:
    """`ended` is that of the `AnswerLost` of a change; None if the change is known not to have run."""

    name: str
    answer: Answer
    error: type[SessionsError]
    ended: bool | None
    timeout: float = 20


def refusal(status: int, error: type[SessionsError], *headers: str) -> Fault:
    return Fault(f"{status} {' '.join(headers)}".strip(), whole(status, BODY, *headers), error, None)


FAULTS = [
    Fault("header stall", STALLS, Timeout, False, 0.3),
    Fault("body stall", raw(HEAD + BODY, STALLS), Timeout, False, 0.3),
    Fault("a byte at a time", endless(CHUNKED, b"1\r\nx\r\n", 0.02), Timeout, False, 0.3),
    Fault("nothing but 1xx", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), Timeout, False, 0.3),
    Fault("reset at once", raw(b"", Connection.reset), Unavailable, False),
    Fault("reset in the body", raw(HEAD + BODY, Connection.reset), Unavailable, True),
    Fault("short body", raw(HEAD + BODY), Unavailable, True),
    Fault("half of a chunked body", raw(CHUNKED + b"5\r\nhello\r\n"), Unavailable, True),
    Fault("closed in the headers", raw(b"HTTP/1.1 200 OK\r\nX: "), Unavailable, False),
    Fault("half-close", Connection.half_close, Unavailable, False),
    Fault("no HTTP", raw(b"SSH-2.0-" + BODY + b"\r\n\r\n", STALLS), Unavailable, False),
    Fault("101", whole(101, b"", "Upgrade: x", "Connection: upgrade"), Unavailable, False),
    Fault("endless headers", endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 1000 + b"\r\n"), Unavailable, False),
    Fault("gzip bomb", whole(200, BOMB, "Content-Encoding: gzip"), BadResponse, True),
    Fault("50 MB, announced", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n", STALLS), BadResponse, True),
    Fault("50 MB, unannounced", endless(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"), BadResponse, True),
    Fault("500", whole(500, BODY), Unavailable, True),
    Fault("500, body stall", raw(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n", STALLS), Unavailable, True),
    Fault("HTML 502", whole(502, b"<html>" + BODY, "Content-Type: text/html"), Unavailable, False),
    Fault("503", whole(503, BODY), Unavailable, True),
    Fault("503 for an hour", whole(503, BODY, "Retry-After: 3600"), Unavailable, True),
    Fault("504", whole(504, BODY), Unavailable, False),
    refusal(400, Invalid),
    refusal(401, Unauthorized),
    refusal(403, Forbidden),
    refusal(404, NotFound),
    refusal(405, BadResponse),
    refusal(409, Conflict),
    refusal(413, Invalid),
    refusal(418, BadResponse),
    refusal(422, Invalid),
    refusal(429, RateLimited),
    refusal(429, RateLimited, "Retry-After: 3600"),
    refusal(429, RateLimited, "Retry-After: 1000000000"),
    refusal(429, RateLimited, "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"),
    refusal(429, RateLimited, "Retry-After: a while"),
    Fault("304", whole(304, BODY), BadResponse, True),
    Fault("404, body stall", raw(b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\nhun", STALLS), NotFound, None, 8),
    Fault("404, short body", raw(b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\nhun"), NotFound, None),
    Fault("404, gzip bomb", whole(404, BOMB, "Content-Encoding: gzip"), NotFound, None),
]
UNREADABLE = {
    "empty": b"",
    "bad JSON": b'{"a":' + BODY,
    "HTML": b"<html>" + BODY,
    "bad UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "nested too deep": b"[" * 200_000,
    "a huge integer": b"9" * 10_000,
}
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def client_of(server: ToxicServer, timeout: float = 20) -> HttpClient:
    return HttpClient(server.url, system="AgentOS", credential=Credential(TOKEN), timeout=timeout)


def assert_safe(error: SessionsError) -> None:
    assert "hunter2" not in error.text
    assert "127.0.0.1" not in error.text
    assert error.text.isprintable()
    assert error.message.endswith(".")


async def assert_works(server: ToxicServer, client: HttpClient) -> None:
    server.default = whole()
    assert (await client.read("/next")).json() == {"ok": True}


@each_fault
async def test_a_failed_read_has_the_right_error_and_the_next_works(fault: Fault) -> None:
    async with toxic_server() as server, client_of(server, fault.timeout) as client:
        server.default = fault.answer
        with anyio.fail_after(10), pytest.raises(fault.error) as caught:
            await client.read("/sessions")
        assert caught.value.code == fault.error.code
        assert_safe(caught.value)
        await assert_works(server, client)


@each_fault
async def test_the_error_of_a_change_says_whether_it_may_have_been_made_and_the_next_works(fault: Fault) -> None:
    async with toxic_server() as server, client_of(server, fault.timeout) as client:
        server.default = fault.answer
        with anyio.fail_after(10), pytest.raises(SessionsError) as caught:
            await client.change("DELETE", "/sessions/a")
        if fault.ended is None:
            assert caught.value.code == fault.error.code
        else:
            assert isinstance(caught.value, AnswerLost)
            assert caught.value.ended is fault.ended
        assert_safe(caught.value)
        await assert_works(server, client)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_no_json_is_a_bad_response(body: bytes) -> None:
    async with toxic_server(whole(200, body)) as server, client_of(server) as client:
        reply = await client.read("/sessions")
        with pytest.raises(BadResponse) as caught:
            reply.json()
        assert_safe(caught.value)
        await assert_works(server, client)


async def test_numbers_that_json_lacks_are_left_out() -> None:
    async with toxic_server(whole(200, b"[NaN, -Infinity, 1e999, 1.5, 2]")) as server, client_of(server) as client:
        assert (await client.read("/sessions")).json() == [None, None, None, 1.5, 2]


async def test_a_number_that_is_too_large_for_a_float_is_not_shown_as_a_number() -> None:
    async with toxic_server(whole(200, b'{"n": 1e999}')) as server, client_of(server) as client:
        state = (await client.read("/sessions")).json()
    assert payload_of(SessionDetail(id="a", state=state), str)["state"] == {"n": None}


async def test_a_refused_connection_is_unavailable_for_reads_and_changes() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens on it
        async with HttpClient(f"http://127.0.0.1:{unused.getsockname()[1]}", system="AgentOS") as client:
            for request in (client.read("/sessions"), client.change("DELETE", "/sessions/a")):
                with anyio.fail_after(5), pytest.raises(Unavailable, match="can't be reached") as caught:
                    await request
                assert_safe(caught.value)


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
async def test_an_impossible_host_is_unavailable(host: str) -> None:
    async with HttpClient(f"https://{host}", system="AgentOS") as client:
        with anyio.fail_after(5), pytest.raises(Unavailable):
            await client.change("DELETE", "/sessions/a")


async def test_a_server_without_tls_is_unavailable_and_receives_no_token() -> None:
    async with toxic_server() as server:
        server.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        async with HttpClient(
            server.url.replace("http:", "https:"), system="AgentOS", credential=Credential(TOKEN)
        ) as client:
            with anyio.fail_after(5), pytest.raises(Unavailable, match="certificate") as caught:
                await client.change("DELETE", "/sessions/a")
        assert_safe(caught.value)
        assert server.received == []


async def test_after_a_500_the_next_request_uses_a_new_connection() -> None:
    async def fails_and_closes(connection: Connection) -> None:
        await whole(500, BODY)(connection)
        await connection.close()

    async with toxic_server(*[fails_and_closes, whole()] * 20) as server, client_of(server) as client:
        for _ in range(20):
            with pytest.raises(AnswerLost):
                await client.change("DELETE", "/sessions/a")
            await client.change("DELETE", "/sessions/a", idempotent=False)
        assert len(server.received) == 40


async def test_cookies_are_neither_stored_nor_sent() -> None:
    async with toxic_server(whole(200, b"{}", "Set-Cookie: session=hunter2")) as server, client_of(server) as client:
        await client.read("/sessions")
        await client.read("/sessions")
        assert "cookie" not in server.received[1].headers


async def test_urls_credentials_and_content_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with toxic_server() as server, client_of(server) as client:
        await client.read("/sessions/hunter2", params={"user": "hunter2"})
        await client.change("PATCH", "/sessions/hunter2", json={"name": "hunter2"})
    assert "hunter2" not in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
