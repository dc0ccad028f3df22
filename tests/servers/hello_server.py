"""The SDK's smallest server: what a start costs without us."""

from mcp.server import MCPServer

server = MCPServer("hello", log_level="WARNING")


@server.tool()
async def hello() -> str:
    """Say hello."""
    return "hello"


if __name__ == "__main__":
    server.run()
