"""The thread that answers before the SDK is loaded: which requests, and what it hands over."""

import json
import os
import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from mcp.types import JSONRPCRequest

from mcp_sessions.transports.frames import read_frame
from mcp_sessions.transports.stdio.answer_cache import MAX_REQUESTS, AnswerCache, RequestKeys, Result
from mcp_sessions.transports.stdio.early_answers import EarlyAnswers

from ..support.stdio_client import Frame, call, initialize, modern, notification, request
from ..support.stdio_mutations import FRAMES, SEEDS, mutated

TOOLS: Result = {"tools": [{"name": "list_sessions"}]}
LIST = request(1, "tools/list")


class Client:
    """The client's end of two pipes, and the early answers at the other end."""

    def __init__(self, cache: AnswerCache) -> None:
        self.source, self.stdin = os.pipe()
        self.stdout, self.sink = os.pipe()
        self.early = EarlyAnswers(cache)
        self.early.start(self.source, self.sink)

    def send(self, *frames: Frame | bytes) -> None:
        lines = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
        os.write(self.stdin, b"".join(line + b"\n" for line in lines))

    def receive(self) -> Frame:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self.stdout, 1)
        return json.loads(line)

    def close(self) -> None:
        self.early.stop()
        for descriptor in (self.source, self.stdin, self.stdout, self.sink):
            os.close(descriptor)


@contextmanager
def connected(cache: AnswerCache) -> Generator[Client]:
    client = Client(cache)
    try:
        yield client
    finally:
        client.close()


def keys_of(*frames: Frame) -> list[str]:
    keys = RequestKeys()
    return [keys.key_of(frame["method"], frame["params"]) for frame in frames]


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    """Return a cache that answers `tools/list`, with and without a handshake, and the handshake."""
    cache = AnswerCache(tmp_path / "answers" / "file.json", "1")
    shaken, after = keys_of(initialize(1), LIST)
    for key in (*keys_of(LIST), *keys_of(modern(1, "tools/list")), after):
        cache.update(key, TOOLS)
    cache.update(shaken, {"serverInfo": {"name": "é"}})
    return cache


def answer(request_id: int | str, result: Result = TOOLS) -> Frame:
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def test_known_requests_are_answered_in_both_eras_and_everything_is_handed_over(cache: AnswerCache) -> None:
    frames = [
        modern("m", "tools/list"),
        initialize(0),
        notification("notifications/initialized"),
        request(7, LIST["method"]),
    ]
    with connected(cache) as client:
        client.send(*frames)
        received = [client.receive() for _ in range(3)]
        client.early.stop()
    assert received == [answer("m"), answer(0, {"serverInfo": {"name": "é"}}), answer(7)]
    assert list(map(json.loads, client.early.received.splitlines())) == frames
    assert client.early.sent == {"m": TOOLS, 0: {"serverInfo": {"name": "é"}}, 7: TOOLS}


def test_requests_with_unknown_answers_are_left_to_the_server(cache: AnswerCache) -> None:
    with connected(cache) as client:
        client.send(
            call(1, "list_sessions"), request(2, "tools/list", cursor="x"), request(3, "ping"), modern(4, "tools/list")
        )
        assert client.receive() == answer(4)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{",
        b'"\xff"',
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": null, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1.0, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": []}',
        b'{"jsonrpc": "2.0", "id": 3, "method": "tools/list", "error": {}}',
        b'{"jsonrpc": "1.0", "id": 3, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 3, "method": []}',
    ],
)
def test_after_an_unusual_line_nothing_more_is_answered(line: bytes, cache: AnswerCache) -> None:
    with connected(cache) as client:
        client.send(modern(1, "tools/list"), line, request(2, "tools/list"))
        client.early.stop()
    assert client.early.sent.keys() == {1}


def test_an_id_that_is_used_twice_is_answered_once(cache: AnswerCache) -> None:
    with connected(cache) as client:
        client.send(LIST, LIST, request(2, "tools/list"))
        client.early.stop()
    assert client.early.sent.keys() == {1}
    with connected(cache) as client:
        client.send(call(1, "list_sessions"), LIST, request(2, "tools/list"))
        client.early.stop()
    assert client.early.sent == {}


def test_only_the_first_messages_are_answered(cache: AnswerCache) -> None:
    ids = range(2 * MAX_REQUESTS)
    with connected(cache) as client:
        client.send(*(request(number, "tools/list") for number in ids))
        received = [client.receive()["id"] for _ in range(MAX_REQUESTS)]
        client.early.stop()
    assert received == list(ids)[:MAX_REQUESTS]
    assert len(client.early.sent) == MAX_REQUESTS


def test_a_line_that_never_ends_is_read_only_up_to_a_limit(cache: AnswerCache) -> None:
    with connected(cache) as client:
        os.set_blocking(client.stdin, False)
        written, tries = 0, 0
        while tries < 1000:  # far more often than the reader has to run to fill the limit
            try:
                written += os.write(client.stdin, b"x" * 65536)
            except BlockingIOError:
                tries += 1
                os.sched_yield()
        client.early.stop()
    assert len(client.early.received) < 500_000


def test_answers_that_the_client_does_not_read_are_handed_over(cache: AnswerCache) -> None:
    large: Result = {"tools": "x" * 300_000}
    cache.update(keys_of(LIST)[0], large)
    with connected(cache) as client:
        client.send(LIST)
        begin = os.read(client.stdout, 1)
        client.early.stop()
        os.set_blocking(client.stdout, False)
        with pytest.raises(BlockingIOError):
            while True:
                begin += os.read(client.stdout, 65536)
    assert json.loads(begin + client.early.unsent) == answer(1, large)
    assert len(client.early.unsent) > 100_000


def test_a_client_that_has_gone_is_left_to_the_server(cache: AnswerCache) -> None:
    with connected(cache) as client:
        os.close(client.stdout)
        client.stdout = os.dup(client.stdin)
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "early answers")
        client.send(LIST)
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "frame", [LIST, call(1, "list_sessions"), request(1, "resources/list"), b"[]"], ids=["list", "call", "read", "odd"]
)
def test_the_server_is_loaded_once_the_tools_are_listed_or_a_message_needs_it(
    frame: Frame | bytes, cache: AnswerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.transports.stdio.early_answers._OPENING_SECONDS", 60)
    with connected(cache) as client:
        client.send(initialize("start"), frame)
        began = monotonic()
        client.early.wait()
        assert monotonic() - began < 50


def test_the_server_is_loaded_soon_if_the_client_sends_nothing(cache: AnswerCache) -> None:
    with connected(cache) as client:
        client.early.wait()
        client.send(LIST)
        assert client.receive() == answer(1)


def test_without_stored_answers_nothing_is_read(tmp_path: Path) -> None:
    with connected(AnswerCache(tmp_path / "file.json", "1")) as client:
        client.send(LIST)
        client.early.stop()
        assert client.early.received == b""
        assert json.loads(os.read(client.source, 65536)) == LIST


@pytest.mark.slow
def test_whatever_is_answered_is_a_request_for_the_server_too(cache: AnswerCache) -> None:
    chance = random.Random(4)
    known = [keys_of(frame)[0] for frame in SEEDS if "method" in frame]
    for key in filter(None, known):
        cache.update(key, TOOLS)
    answered = 0
    for number in range(FRAMES):
        line = mutated(number, chance)
        early = EarlyAnswers(cache)
        early._receive(line + b"\n")  # pyright: ignore[reportPrivateUsage]  # a thread for each of thousands takes long
        for request_id in early.sent:
            frame = read_frame(line)
            assert isinstance(frame, JSONRPCRequest)
            assert frame.id == request_id
            answered += 1
    assert answered > 50
