"""Clients are notified of changes to the list of sessions if the capabilities say so."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp.types import METHOD_NOT_FOUND, ElicitRequestParams, ElicitResult, ResourceListChangedNotification

from tests.support.clients import Peer, both_eras, serving
from tests.support.fork_server import forked
from tests.support.http_server import connected, environment, running

NOTHING = {"tools": False, "prompts": False, "resources": False, "subscribe": False}
LIST_OF_RESOURCES = {**NOTHING, "resources": True}
LISTS = {**LIST_OF_RESOURCES, "tools": True, "prompts": True}


class Notifications:
    """What a client is told: it counts changes of the list of resources."""

    def __init__(self) -> None:
        self.count = 0
        self._came = anyio.Event()

    async def __call__(self, message: Any) -> None:
        if isinstance(message, ResourceListChangedNotification):
            self.count += 1
            self._came.set()

    async def wait(self) -> None:
        """Wait for a notification, and count from 0 again."""
        with anyio.fail_after(5):
            await self._came.wait()
        self.count, self._came = 0, anyio.Event()


@asynccontextmanager
async def listening(era: str, client: Client) -> AsyncGenerator[None]:
    """Subscribe to changes of resources, which the newer era requires."""
    if era == "legacy":
        yield
        return
    async with client.listen(resources_list_changed=True, tools_list_changed=True) as subscription:
        assert subscription.honored.resources_list_changed
        assert not subscription.honored.tools_list_changed
        yield


async def accept(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"delete": True})


def promised(client: Client) -> dict[str, bool | None]:
    """Return every flag of the capabilities that promises a notification."""
    capabilities = client.server_capabilities
    assert capabilities.tools
    assert capabilities.prompts
    assert capabilities.resources
    return {
        "tools": capabilities.tools.list_changed,
        "prompts": capabilities.prompts.list_changed,
        "resources": capabilities.resources.list_changed,
        "subscribe": capabilities.resources.subscribe,
    }


async def changes_of(peer: Peer) -> AsyncGenerator[str]:
    """Make every change of the list, one after the other, and name each."""
    session = await peer.session("hello", name="A trip")
    id = session.id
    calls: dict[str, dict[str, Any]] = {
        "create_session": {},
        "rename_session": {"session_id": id, "name": "B"},
        "archive_session": {"session_id": id},
        "restore_session": {"session_id": id},
        "fork_session": {"session_id": id},
        "delete_session": {"session_id": id},
        "apply_to_sessions": {"session_ids": [id], "action": "restore", "dry_run": False},
    }
    for tool, arguments in calls.items():
        await peer.call(tool, **arguments)
        yield tool


@both_eras
async def test_a_client_is_notified_of_each_change_to_the_list(era: str) -> None:
    told = Notifications()
    async with serving(era, messages=told, elicitation=accept) as peer, listening(era, peer.client):
        async for _ in changes_of(peer):
            await told.wait()


@both_eras
async def test_a_client_is_not_notified_of_changes_that_do_not_affect_the_list(era: str) -> None:
    told = Notifications()
    async with serving(era, messages=told) as peer, listening(era, peer.client):
        session = await peer.session("hello", name="A trip")
        for tool, arguments in (
            ("list_sessions", {}),
            ("update_session", {"session_id": session.id, "summary": "s"}),
            ("update_session_state", {"session_id": session.id, "changes": {"a": 1}}),
            ("append_messages", {"session_id": session.id, "messages": [{"role": "user", "text": "x"}]}),
            ("apply_to_sessions", {"session_ids": [session.id], "action": "archive"}),
        ):
            await peer.call(tool, **arguments)
        await peer.error("rename_session", session_id="absent", name="B")
        await peer.error("delete_session", session_id=session.id)
        await anyio.wait_all_tasks_blocked()
        assert told.count == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_capabilities_declare_the_notifications_that_are_sent(mode: str) -> None:
    others = mode == "legacy"  # if an answer from the cache was out of date
    expected = NOTHING | {"tools": others, "prompts": others}
    async with serving(mode) as peer:
        assert promised(peer.client) == expected | {"resources": True}
    async with serving(mode, read_only=True) as peer:
        assert promised(peer.client) == expected
    async with serving(mode, toolsets=("history", "state")) as peer:
        assert promised(peer.client) == expected


@pytest.mark.parametrize(("mode", "era"), [("auto", "2026-07-28"), ("legacy", "legacy")])
async def test_a_client_over_stdio_is_notified(mode: str, era: str, tmp_path: Path) -> None:
    told = Notifications()
    parameters = StdioServerParameters(
        command=sys.executable, args=forked("-m", "mcp_sessions")[1:], env=environment(tmp_path), cwd=tmp_path
    )
    with anyio.fail_after(60):
        async with Client(stdio_client(parameters), mode=mode, message_handler=told) as client:
            assert promised(client) == (LISTS if mode == "legacy" else LIST_OF_RESOURCES)
            async with listening(era, client):
                await client.call_tool("create_session", {})
                await told.wait()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_over_http_no_notifications_are_declared_and_none_can_be_received(mode: str, tmp_path: Path) -> None:
    async with running(tmp_path) as server, connected(server.url, mode) as client:
        assert promised(client) == NOTHING
        assert not (await client.call_tool("create_session", {})).is_error
        if mode == "auto":
            with pytest.raises(MCPError) as raised:
                async with client.listen(resources_list_changed=True):
                    pass
            assert raised.value.error.code == METHOD_NOT_FOUND
