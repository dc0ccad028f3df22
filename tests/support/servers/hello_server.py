"""The SDK's smallest server: what a start, and a call, costs without us. `hello_server.py stdio|http [URL]`.

`hello` does nothing; `fetch` is the shortest way to what is at the URL.
"""

import socket
import sys
from typing import Any

from mcp.server import MCPServer

server = MCPServer("hello", log_level="WARNING")


@server.tool()
async def hello() -> str:
    """Say hello."""
    return "hello"


def add_fetch(url: str) -> None:
    import httpx2

    http = httpx2.AsyncClient(base_url=url, trust_env=False, verify=False)

    @server.tool()
    async def fetch(path: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]  # it is registered
        """Fetch JSON."""
        return (await http.get(path)).json()


def serve_http() -> None:
    """Serve on a free port, with nothing but what the SDK does. Print the URL on stderr."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(f"hello: serving at http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        app = server.streamable_http_app(stateless_http=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    transport, *urls = sys.argv[1:]
    for url in urls:
        add_fetch(url)
    serve_http() if transport == "http" else server.run()
