"""The comparison of the server's answers with those that were sent early, and which of them are stored."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_sessions.transports.stdio.answer_cache import MAX_REQUESTS, AnswerCache, RequestKeys, Result
from mcp_sessions.transports.stdio.answer_check import AnswerCheck
from mcp_sessions.transports.stdio.early_answers import EarlyAnswers

from ..support.stdio_client import Frame, call, request

TOOLS: Result = {"tools": [{"name": "list_sessions"}]}
LIST = request(1, "tools/list")
LIST_KEY = RequestKeys().key_of("tools/list", {})


def response(request_id: int, result: Result) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode()


class Server:
    """The answers of a server, checked."""

    def __init__(self, cache: AnswerCache, *sent: int) -> None:
        early = EarlyAnswers(cache)
        early.sent = dict.fromkeys(sent, TOOLS)
        self.check = AnswerCheck(early)

    def was_sent(self, *frames: Frame) -> bool:
        for frame in frames:
            self.check.on_request(frame["id"], frame["method"], frame["params"])
        return self.responds(1)

    def responds(self, request_id: int, result: Result = TOOLS) -> bool:
        return self.bytes_to_send(request_id, result) == b""

    def bytes_to_send(self, request_id: int, result: Result) -> bytes:
        return self.check.bytes_to_send(request_id, response(request_id, result))


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], dict[str, Result]]:
    return lambda: AnswerCache(tmp_path / "new" / "file.json", "1").answers


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "new" / "file.json", "1")


def test_an_answer_is_stored_and_sent_once(cache: AnswerCache, stored: Callable[[], dict[str, Result]]) -> None:
    assert not Server(cache).was_sent(LIST)
    assert stored() == {LIST_KEY: TOOLS}
    server = Server(cache, 1)
    assert server.was_sent(LIST)
    assert not server.responds(1)


def test_an_answer_that_shows_sessions_is_not_stored(
    cache: AnswerCache, stored: Callable[[], dict[str, Result]]
) -> None:
    Server(cache).was_sent(request(1, "resources/list"))
    Server(cache).was_sent(call(1, "list_sessions"))
    Server(cache).was_sent(call(1, "list_sessions"), LIST)  # which of the two is answered can't be known
    Server(cache).was_sent(LIST, call(1, "list_sessions"))
    assert stored() == {}


def test_an_id_used_again_after_many_requests_is_not_stored(
    cache: AnswerCache, stored: Callable[[], dict[str, Result]]
) -> None:
    many = [request(number, "ping") for number in range(2, MAX_REQUESTS + 2)]
    Server(cache).was_sent(LIST, *many, call(1, "list_sessions"))
    assert stored() == {}


def test_only_the_first_answers_are_stored(cache: AnswerCache, stored: Callable[[], dict[str, Result]]) -> None:
    many = [request(number, "ping") for number in range(2, MAX_REQUESTS + 2)]
    Server(cache).was_sent(*many, LIST)
    assert stored() == {}


def test_an_error_is_not_stored_and_removes_what_was(cache: AnswerCache) -> None:
    cache.update(LIST_KEY, TOOLS)
    server = Server(cache, 1)
    server.check.on_request(1, "tools/list", {})
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "Internal server error"}}
    assert server.check.bytes_to_send(1, json.dumps(error).encode()) == b""
    assert LIST_KEY not in cache.answers


def test_a_difference_is_logged_and_replaces_the_stored_answer(
    cache: AnswerCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.update(LIST_KEY, TOOLS)
    server = Server(cache, 1)
    server.check.on_request(1, "tools/list", {})
    assert server.responds(1, {"tools": []})
    assert cache.answers[LIST_KEY] == {"tools": []}
    assert "the cached answer to tools/list was out of date" in caplog.text


def test_a_response_that_was_not_sent_early_is_left_to_send(cache: AnswerCache) -> None:
    server = Server(cache)
    server.check.on_request(1, "tools/list", {})
    assert server.bytes_to_send(1, TOOLS) == response(1, TOOLS)


@pytest.mark.parametrize("kind", ["tools", "prompts"])
def test_a_client_is_told_that_a_list_sent_early_was_out_of_date(kind: str, cache: AnswerCache) -> None:
    server = Server(cache, 1)
    server.check.on_request(0, "initialize", {})
    server.check.on_request(1, f"{kind}/list", {})
    sent = json.loads(server.bytes_to_send(1, {kind: []}))
    assert sent == {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}


def test_a_client_of_a_later_protocol_is_told_nothing_that_it_did_not_ask_for(cache: AnswerCache) -> None:
    server = Server(cache, 1)
    server.check.on_request(1, "tools/list", {})
    assert server.bytes_to_send(1, {"tools": []}) == b""
