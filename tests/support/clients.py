"""A server on a fresh embedded store with a real client connected to it, for tests of tools."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult, TextContent

from mcp_sessions import SessionBackend, create_server, open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.models import NewMessage, SessionDetail

ALL = ("sessions", "history", "state", "bulk", "authoring")
both_eras = pytest.mark.parametrize("era", ["2026-07-28", pytest.param("legacy", marks=pytest.mark.variants)])


@dataclass
class Peer:
    """A connected client and, for seeding and checking, the backend behind the server."""

    client: Client
    backend: SessionBackend

    async def result(self, tool: str, **arguments: Any) -> CallToolResult:
        return await self.client.call_tool(tool, arguments)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the result of a call. Check that the text block and the structured content are equal."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content == json.loads(text_of(result))
        return result.structured_content

    async def error(self, tool: str, **arguments: Any) -> str:
        """Return the error text of a call that fails."""
        result = await self.result(tool, **arguments)
        assert result.is_error, text_of(result)
        assert result.structured_content is None
        assert "\n" not in text_of(result)
        return text_of(result)

    async def session(self, *texts: str, name: str = "", user: str = "", **values: Any) -> SessionDetail:
        """Create a session with these messages, of the user and the assistant in turn."""
        backend = self.backend.for_caller(Caller(user_id=user))
        session = await backend.create_session(name=name, **values)
        if texts:
            roles = ("user", "assistant")
            messages = [NewMessage(role=roles[place % 2], text=text) for place, text in enumerate(texts)]
            await backend.append_messages(session.id, messages)
        return await backend.get_session(session.id)


@asynccontextmanager
async def serving(era: str = "2026-07-28", url: str = "sqlite:///:memory:", **options: Any) -> AsyncGenerator[Peer]:
    """Yield a client of a server, by default with all toolsets. Options: callbacks for `elicitation`, `messages`."""
    elicitation = options.pop("elicitation", None)
    messages = options.pop("messages", None)
    backend = open_backend(url)
    options.setdefault("toolsets", ALL)
    server = create_server(backend, **options)
    async with Client(server, mode=era, elicitation_callback=elicitation, message_handler=messages) as client:
        yield Peer(client, backend)


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text
