"""An AgentOS that answers next to at once: what the fake said to each request, again: `upstream.py FILE`.

FILE is a JSON object of targets to bodies. The port is the first line on stdout; it ends when its stdin does.
"""

import asyncio
import json
import sys
from pathlib import Path


def response(status: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body.encode())}\r\n\r\n"
    return head.encode() + body.encode()


ANSWERS = {
    f"GET {target} ".encode(): response("200 OK", body)
    for target, body in json.loads(Path(sys.argv[1]).read_text()).items()
}
MISSING = response("404 Not Found", "{}")


class Replay(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            target = head[: head.index(b"HTTP/1.1")]
            self.transport.write(ANSWERS.get(target, MISSING))


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Replay, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
