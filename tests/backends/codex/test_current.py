"""The current session is the thread that Codex names in a request's `_meta`, in the keys of each version."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import RequestParamsMeta

from mcp_sessions import create_server, open_backend
from mcp_sessions.server.context import META_KEY

from .homes import FIXTURES, labelled, opened

HOME = FIXTURES / "home"
PARENT, OTHER = labelled("parent"), labelled("injected")
CHILD = "01a22000-c7a4-7921-9f7a-171c48d76ae4"
TURN = "x-codex-turn-metadata"
TRAFFIC = Path(__file__).parents[2] / "support/client_traffic/codex-0.171.0.jsonl"


@asynccontextmanager
async def serving(**options: Any) -> AsyncGenerator[Client]:
    async with opened(HOME) as backend, Client(create_server(backend, **options)) as client:
        yield client


async def current(client: Client, meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the id of the current session and where it was resolved from."""
    result = await client.call_tool("get_session", {"session_id": "current"}, meta=RequestParamsMeta(**meta))
    assert result.structured_content is not None
    return result.structured_content["id"], result.structured_content["resolved_from"]


@pytest.mark.parametrize(
    "meta",
    [
        {TURN: {"session_id": PARENT, "turn_id": "t", "workspaces": {}}},
        {"threadId": PARENT, TURN: {"session_id": PARENT, "thread_id": PARENT}},
        {"threadId": PARENT, "sessionId": OTHER, TURN: {"session_id": OTHER, "thread_id": OTHER}},
        {"threadId": 7, TURN: {"thread_id": PARENT, "session_id": OTHER}},
        {"threadId": "../../auth.json", TURN: {"thread_id": None, "session_id": PARENT.upper()}},
    ],
    ids=["0.120", "0.144", "0.171", "no text", "no id"],
)
async def test_the_thread_of_a_request_is_the_current_session(meta: Mapping[str, Any]) -> None:
    async with serving(session=OTHER) as client:
        assert await current(client, meta) == (PARENT, "client")
        assert await current(client, {META_KEY: OTHER, **meta}) == (OTHER, "meta")


async def test_a_request_of_a_subagent_is_for_its_own_thread() -> None:
    turn = {"session_id": PARENT, "thread_id": CHILD, "parent_thread_id": PARENT, "subagent_kind": "spawn"}
    async with serving() as client:
        assert await current(client, {"threadId": CHILD, "sessionId": PARENT, TURN: turn}) == (CHILD, "client")
        rows = (await client.call_tool("list_sessions", {}, meta={"threadId": CHILD})).structured_content
        assert rows is not None
        assert [row["id"] for row in rows["sessions"] if row.get("is_current")] == [CHILD]


@pytest.mark.parametrize("turn", [None, "text", [], {}, {"session_id": ["x"]}])
async def test_a_request_that_names_no_thread_is_for_the_session_of_the_setting(turn: object) -> None:
    async with serving(session=OTHER) as client:
        assert await current(client, {TURN: turn}) == (OTHER, "setting")


async def test_a_thread_that_is_not_stored_is_not_found() -> None:
    async with serving() as client:
        result = await client.call_tool("get_session", {"session_id": "current"}, meta={"threadId": PARENT[:-1] + "0"})
        assert result.is_error


async def test_among_several_backends_the_thread_is_one_of_codex() -> None:
    backends = {"": open_backend(), "codex": open_backend(f"codex://{HOME}")}
    async with Client(create_server(backends)) as client:
        assert await current(client, {"threadId": PARENT}) == (f"codex/{PARENT}", "client")


async def test_the_requests_that_codex_sent_name_a_thread() -> None:
    sent = [json.loads(line).get("send", {}) for line in TRAFFIC.read_text().splitlines()]
    metas = [one["params"]["_meta"] for one in sent if one.get("method") == "tools/call"]
    assert metas
    async with opened(HOME) as backend:
        assert {backend.session_in_meta(meta) for meta in metas} == {metas[0]["threadId"]}
