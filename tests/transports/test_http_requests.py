"""The requests that the MCP endpoint accepts: method, path, `Accept`, and one message in the body."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.clients import both_eras
from tests.support.http_calls import answer_of
from tests.support.http_server import Server, connected, running
from tests.support.http_tokens import ACCEPT, add
from tests.support.stdio_client import Frame, call, modern, request

MODERN = {"MCP-Protocol-Version": "2026-07-28"}
ERAS: dict[str, dict[str, str]] = {
    "2026-07-28": MODERN,
    "2025-11-25": {"MCP-Protocol-Version": "2025-11-25"},
    "no version": {},
}
each_era = pytest.mark.parametrize("era", ERAS)
each_path = pytest.mark.parametrize("path", ["/mcp", "/mcp/"])


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Server, httpx2.AsyncClient]]:
    """Yield a server that requires a token, and a client that has it."""
    folder = tmp_path_factory.mktemp("requests")
    token = add(folder / "tokens", "ada")
    given = ("--port", "0", "--tokens", str(folder / "tokens"), "--max-body", "10000")
    async with (
        running(folder, *given, deadline=300) as server,
        httpx2.AsyncClient(
            base_url=server.root,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            verify=False,
            timeout=60,
        ) as http,
    ):
        yield server, http


Served = tuple[Server, httpx2.AsyncClient]


def listing(era: str) -> tuple[Frame, dict[str, str]]:
    """Return a request for the tools, and its headers except `Accept`."""
    if era == "2026-07-28":
        return modern(1, "tools/list"), {**MODERN, "Mcp-Method": "tools/list"}
    return request(1, "tools/list"), ERAS[era]


@each_path
@each_era
async def test_a_405_names_post_as_the_allowed_method(era: str, path: str, served: Served) -> None:
    for method in ("GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "QUERY"):
        refused = await served[1].request(method, path, headers={**ACCEPT, **ERAS[era]})
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST"), method


BATCHES: list[Any] = [
    [],
    [request(1, "tools/list")],
    [modern(1, "tools/list"), modern(2, "tools/list")],
    [{"jsonrpc": "2.0", "method": "notifications/initialized"}],
    [1, "two", None],
    [call(1, "create_session", name="hunter2")] * 20,
]


@each_era
@pytest.mark.parametrize("batch", BATCHES)
async def test_a_batch_is_refused_with_our_own_message(batch: list[Any], era: str, served: Served) -> None:
    refused = await served[1].post("/mcp", json=batch, headers={**ACCEPT, **ERAS[era]})
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/json")
    assert refused.json() == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32600, "message": "batches are not supported. Send one message at a time."},
    }


NOT_MESSAGES: dict[str, tuple[bytes, int, object, str]] = {
    "nothing": (b"", -32700, None, "the message is not valid JSON. Send one JSON object at a time."),
    "half an object": (b'{"id": 1', -32700, None, "the message is not valid JSON. Send one JSON object at a time."),
    "two objects": (b"{}\n{}", -32700, None, "the message is not valid JSON. Send one JSON object at a time."),
    "a string": (b'"hunter2"', -32600, None, "the message is not an object. Send one JSON object at a time."),
    "null": (b"null", -32600, None, "the message is not an object. Send one JSON object at a time."),
    "no method": (b'{"jsonrpc":"2.0","id":7}', -32600, 7, "the member method is missing or not a string."),
    "no version": (b'{"id":7,"method":"ping"}', -32600, 7, 'the member jsonrpc must be "2.0".'),
    "deep": (b"[" * 4000, -32600, None, "the message is nested 200 levels deep or more. Send it with less nesting."),
}


@each_era
@pytest.mark.parametrize("name", NOT_MESSAGES)
async def test_a_body_that_is_not_a_message_is_refused_with_our_own_message(
    name: str, era: str, served: Served
) -> None:
    body, code, request_id, message = NOT_MESSAGES[name]
    headers = {**ACCEPT, **ERAS[era], "Content-Type": "application/json"}
    refused = await served[1].post("/mcp", content=body, headers=headers)
    assert refused.status_code == 400
    assert refused.json() == {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}


@each_era
async def test_a_tool_call_with_a_lone_surrogate_returns_a_tool_error(era: str, served: Served) -> None:
    make, headers = (modern, {**MODERN, "Mcp-Method": "tools/call"}) if era == "2026-07-28" else (request, ERAS[era])
    frame = make(1, "tools/call", name="list_sessions", arguments={"query": "\ud83d"})
    body = json.dumps(frame).encode()
    answered = await served[1].post(
        "/mcp", content=body, headers={**ACCEPT, **headers, "Content-Type": "application/json"}
    )
    assert answered.status_code == 200
    result = answer_of(answered)["result"]
    assert result["isError"]
    assert result["content"][0]["text"].startswith("invalid: the message has half of a surrogate pair")


@each_path
@each_era
async def test_a_request_without_accept_is_served(era: str, path: str, served: Served) -> None:
    frame, headers = listing(era)
    for accept in ([], [("Accept", "")]):
        asked = served[1].build_request("POST", path, json=frame, headers=headers)
        del asked.headers["accept"]
        asked.headers.update(accept)
        assert asked.headers.get("accept") == (accept[0][1] if accept else None)
        answered = await served[1].send(asked)
        assert answered.status_code == 200, answered.text
        assert "list_sessions" in [tool["name"] for tool in answer_of(answered)["result"]["tools"]]


@both_eras
async def test_the_endpoint_with_a_trailing_slash_serves_a_client(era: str, tmp_path: Path) -> None:
    async with running(tmp_path) as server, connected(f"{server.url}/", era) as client:
        created = await client.call_tool("create_session", {"name": "by the slash"})
        assert created.structured_content is not None
        assert created.structured_content["name"] == "by the slash"


@each_era
async def test_the_endpoint_with_a_trailing_slash_has_the_same_checks(era: str, served: Served) -> None:
    server, http = served
    frame, headers = listing(era)
    large = frame | {"params": frame["params"] | {"padding": "x" * 10_000}}
    cases: list[tuple[int, dict[str, str], Frame]] = [
        (200, {}, frame),
        (401, {"Authorization": "Bearer wrong"}, frame),
        (421, {"Host": "evil.example"}, frame),
        (403, {"Origin": "http://evil.example"}, frame),
        (413, {}, large),
    ]
    for expected, extra, body in cases:
        answers = [
            await http.post(path, json=body, headers={**ACCEPT, **headers, **extra}) for path in ("/mcp", "/mcp/")
        ]
        assert [(answer.status_code, answer.text) for answer in answers] == [(expected, answers[0].text)] * 2
    for path in ("/mcp//", "//mcp", "/mcp/x", "/mcp/healthz"):
        assert (await http.post(f"{server.root}{path}", json=frame, headers={**ACCEPT, **headers})).status_code == 404
