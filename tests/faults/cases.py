"""Every tool called at once on a system that is out of order, and whether what they say is true."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client
from mcp.types import CallToolResult

from mcp_sessions.errors import SessionsError

from ..support.clients import text_of
from .systems import TOOLS, System, arguments_of, client_of

CODES = {kind.code for kind in SessionsError.__subclasses__()} - {"internal"}
LEAKS = ("hunter2", "127.0.0.1", "localhost", "http:", "Traceback", "\n")
Kept = dict[str, list[str]]


@dataclass
class Case:
    """A client of a system, what the system kept of each tool's session when it began, and what a call may spend."""

    system: System
    client: Client
    arguments: Mapping[str, dict[str, Any]]
    before: Kept
    seconds: float

    def kept(self) -> Kept:
        return {tool: self.system.kept(tool) for tool in self.arguments}

    async def call_all(self) -> dict[str, str]:
        """Call each tool. Return the code of its error, "" for a result."""
        codes: dict[str, str] = {}

        async def call(tool: str) -> None:
            with anyio.fail_after(self.seconds + 0.5):
                codes[tool] = code_of(await self.client.call_tool(tool, self.arguments[tool]))

        async with anyio.create_task_group() as tasks:
            for tool in self.arguments:
                tasks.start_soon(call, tool)
        return codes

    def untrue(self, codes: Mapping[str, str], done: Kept) -> list[object]:
        """Return the tools whose sessions differ from what the results said. `done` is the system after all changes."""
        wrong: list[object] = []
        for tool, kept in self.kept().items():
            unchanged, changed = self.before[tool], done[tool]
            possible = {"": [changed], "outcome_unknown": [unchanged, changed]}.get(codes[tool], [unchanged])
            wrong += [] if kept in possible else [(tool, codes[tool], kept)]
        return wrong

    async def works(self) -> None:
        """Check that all reading tools return results."""
        for tool in self.arguments:
            if TOOLS[tool] == "read":
                assert code_of(await self.client.call_tool(tool, self.arguments[tool])) == ""


def code_of(result: CallToolResult) -> str:
    """Return the code of the error in a result, or in the result's only session. Check that the text is our own."""
    told = _told(result)
    code, _, sentence = told.partition(": ")
    assert not told or (code in CODES and sentence.endswith(".")), told
    assert not [leak for leak in LEAKS if leak in told], told
    return code


def _told(result: CallToolResult) -> str:
    if result.is_error:
        return text_of(result)
    assert result.structured_content is not None
    failed: list[dict[str, str]] = result.structured_content.get("failed", [])
    return failed[0]["error"] if failed else ""


@asynccontextmanager
async def begun(system: System, origin: str, folder: Path, seconds: float = 10) -> AsyncGenerator[Case]:
    """Yield a case: a client of a server on the system at this origin, and valid arguments for each tool."""
    async with client_of(system, origin, folder, seconds) as client:
        arguments = await arguments_of(client)
        yield Case(system, client, arguments, {tool: system.kept(tool) for tool in arguments}, seconds)
