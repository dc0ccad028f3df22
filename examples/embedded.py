"""The server inside a program of your own: the same tools, without another process.

Run it with `python examples/embedded.py [FILE]`; without FILE, the sessions are kept in memory.
"""

import sys

import anyio
from mcp.client import Client
from mcp.types import TextContent

from mcp_sessions import create_server, open_backend


async def main(path: str = ":memory:") -> None:
    server = create_server(open_backend(f"sqlite:///{path}"), user="ada", toolsets=("sessions", "history", "authoring"))
    async with Client(server) as client:
        created = await client.call_tool("create_session", {"name": "Release notes", "agent_id": "writer"})
        assert created.structured_content is not None
        session_id = created.structured_content["id"]
        said = [
            {"role": "user", "text": "What changed since 1.4?"},
            {"role": "assistant", "text": "Two fixes and a faster search."},
        ]
        await client.call_tool("append_messages", {"session_id": session_id, "messages": said})
        found = await client.call_tool("search_sessions", {"query": "faster"})
        for block in found.content:
            if isinstance(block, TextContent):
                print(block.text)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else ":memory:")
