"""`mcp-sessions demo`: start the server on a temporary store, connect a client and call the tools."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp.types import TextContent

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.cli.refusals import discard_stdout
from mcp_sessions.config.settings import Settings
from mcp_sessions.models import NewMessage, ToolCall
from mcp_sessions.sqlite_url import url_of

_SAMPLES: tuple[tuple[str, str, dict[str, Any], tuple[NewMessage, ...]], ...] = (
    (
        "Plan the Lisbon trip",
        "travel",
        {"city": "Lisbon", "days": 4, "booked": {"flight": True}},
        (
            NewMessage(role="user", text="Four days in Lisbon in May. What should we not miss?"),
            NewMessage(role="assistant", text="Alfama on foot, the tile museum, and a day in Sintra by train."),
            NewMessage(role="user", text="Which day for Sintra? We'd like to avoid the crowds."),
            NewMessage(
                role="assistant", tool_calls=(ToolCall(id="c1", name="opening_hours", arguments='{"place":"Sintra"}'),)
            ),
            NewMessage(role="tool", text="Pena Palace: daily 9:30-18:30", tool_name="opening_hours"),
            NewMessage(role="assistant", text="Tuesday, early: take the 8:11 from Rossio and start at Pena Palace."),
        ),
    ),
    (
        "",
        "coding",
        {},
        (
            NewMessage(role="user", text="The nightly backup fails with 'disk quota exceeded'."),
            NewMessage(role="assistant", text="Old snapshots are never pruned. Keep 14 of them; I'll add the rule."),
        ),
    ),
    (
        "東京の天気",
        "weather",
        {},
        (
            NewMessage(role="user", text="明日の東京の天気を教えてください。"),
            NewMessage(role="assistant", text="明日の東京は晴れ、最高気温は18度です。"),
        ),
    ),
)


def run(settings: Settings) -> int:
    del settings  # the demo never touches the store that is configured
    status = 0
    with TemporaryDirectory(prefix="mcp-sessions-demo-") as folder:
        try:
            anyio.run(_demo, folder)
        except* MCPError:
            print("mcp-sessions demo: the server stopped early. See its message above.", file=sys.stderr)
            status = 1
        except* BrokenPipeError:
            status = discard_stdout()
    return status


async def _demo(folder: str) -> None:
    url = url_of(Path(folder) / "sessions.db")
    async with open_backend(url) as backend:
        for name, agent_id, state, messages in _SAMPLES:
            session = await backend.create_session(name=name, agent_id=agent_id, state=state)
            await backend.append_messages(session.id, messages)
    arguments = ["-m", "mcp_sessions", "serve", "--backend", url]
    # Everything that the server writes is deleted with the folder, also what it caches for its next start.
    command = StdioServerParameters(command=sys.executable, args=arguments, env={"XDG_CACHE_HOME": folder})
    async with Client(stdio_client(command)) as client:
        print(f"Connected over stdio, protocol {client.protocol_version}.")
        await _call_tools(client)
    print("\nThat was the demo. Its temporary store is deleted. The README says how to connect your client.")


async def _call_tools(client: Client) -> None:
    listed = await _call(client, "Which sessions are there?", "list_sessions")
    unnamed, trip = listed["sessions"][1]["id"], listed["sessions"][2]["id"]
    await _call(client, "What does the session about the trip say?", "get_session_history", session_id=trip, limit=3)
    await _call(client, "Which sessions mention Sintra?", "search_sessions", query="sintra")
    await _call(client, "And 天気, in a script without spaces?", "search_sessions", query="天気")
    await _call(client, "Name the unnamed session.", "rename_session", session_id=unnamed, name="Prune old backups")
    changes = {"booked": {"train": "8:11"}, "days": None}
    await _call(
        client, "Remember the train, forget the days.", "update_session_state", session_id=trip, changes=changes
    )
    await _call(client, "Archive the backup session.", "archive_session", session_id=unnamed)
    await _call(client, "Where is it now?", "list_sessions", archived=True)
    await _call(client, "Restore it.", "restore_session", session_id=unnamed)


async def _call(client: Client, why: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool, print the call and return its result. End the demo if the call failed."""
    shown = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    print(f"\n{why}\n  {tool}({shown})")
    result = await client.call_tool(tool, arguments)
    text = "".join(block.text for block in result.content if isinstance(block, TextContent))
    if result.is_error or result.structured_content is None:
        raise SystemExit(f"mcp-sessions demo: {tool} failed: {text}")
    pretty = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    print("\n".join(f"    {line}" for line in pretty.splitlines()))
    return result.structured_content
