"""A client that speaks to a server process in bytes, so that tests can send what no client library would."""

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from .fork_server import forked

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
DEADLINE = 60
Frame = dict[str, Any]

CLIENT: Frame = {"name": "peer", "version": "1"}
CAPABILITIES: Frame = {"elicitation": {"form": {}}}
ENVELOPE: Frame = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": CAPABILITIES,
}


def request(request_id: object, method: str, **params: Any) -> Frame:
    """Return a request of the handshake era, its members in the order in which most clients write them."""
    return {"method": method, "params": params, "jsonrpc": "2.0", "id": request_id}


def modern(request_id: object, method: str, **params: Any) -> Frame:
    return request(request_id, method, **params, _meta=ENVELOPE)


def notification(method: str, **params: Any) -> Frame:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def initialize(request_id: object, version: str = "2025-11-25") -> Frame:
    params = {"protocolVersion": version, "clientInfo": CLIENT, "capabilities": CAPABILITIES}
    return request(request_id, "initialize", **params)


def call(request_id: object, tool: str, **arguments: Any) -> Frame:
    return request(request_id, "tools/call", name=tool, arguments=arguments)


def text_of(answer: Frame) -> str:
    return answer["result"]["content"][0]["text"]


SCRIPT = str(ROOT / "tests/support/servers/stdio_server.py")


def command(mode: str, marker: Path | None = None) -> list[str]:
    return [sys.executable, SCRIPT, mode, str(marker or os.devnull)]


class Peer:
    """The client's end of a running server."""

    def __init__(self, process: anyio.abc.Process, errors: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.errors = errors
        self.stdin = process.stdin
        self.stdout = BufferedByteReceiveStream(process.stdout)
        self.received: list[Frame] = []

    async def send(self, *frames: Frame | bytes) -> None:
        lines = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
        with anyio.fail_after(DEADLINE):
            await self.stdin.send(b"".join(line + b"\n" for line in lines))

    async def receive(self) -> Frame:
        """Return the next line. Fail the test if it is not JSON."""
        with anyio.fail_after(DEADLINE):
            frame: Frame = json.loads(await self.stdout.receive_until(b"\n", 64 * 1024 * 1024))
        self.received.append(frame)
        return frame

    async def answer(self, request_id: object) -> Frame:
        """Return the response to a request, and skip all messages before it."""
        while True:
            frame = await self.receive()
            if "method" not in frame and frame["id"] == request_id:
                return frame

    async def ask(self, frame: Frame) -> Frame:
        await self.send(frame)
        return await self.answer(frame["id"])

    async def start(self) -> None:
        """Make the handshake of the earlier era."""
        await self.ask(initialize("start"))
        await self.send(notification("notifications/initialized"))

    async def works(self, make: Callable[..., Frame]) -> None:
        """List the tools and call one, with requests that `make` makes."""
        tools = await self.ask(make("list", "tools/list"))
        assert "look" in [tool["name"] for tool in tools["result"]["tools"]]
        answer = await self.ask(make("call", "tools/call", name="look", arguments={"text": "é"}))
        assert text_of(answer) == "é"

    async def rest(self) -> list[Frame]:
        """Return what the server still sends before it ends."""
        frames: list[Frame] = []
        try:
            while True:
                frames.append(await self.receive())
        except (anyio.IncompleteRead, anyio.EndOfStream):
            return frames

    async def end(self) -> int:
        """Wait for the server to end by itself."""
        with anyio.fail_after(DEADLINE):
            return await self.process.wait()

    async def marked(self) -> None:
        """Wait until the server has written its marker file."""
        marker = anyio.Path(self.errors.with_name("marker"))
        with anyio.fail_after(DEADLINE):
            while True:
                if await marker.exists():
                    return
                await anyio.sleep(0.02)

    def kilobytes(self, field: str) -> int:
        """Return a field of /proc/PID/status, such as VmRSS."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:"))

    async def idle(self) -> None:
        """Wait until the server has used no processor time for a while."""
        path = anyio.Path(f"/proc/{self.process.pid}/stat")
        with anyio.fail_after(DEADLINE):
            used, unchanged = "", 0
            while unchanged < 5:
                await anyio.sleep(0.05)
                before, used = used, " ".join((await path.read_text()).split()[13:15])
                unchanged = unchanged + 1 if used == before else 0


@asynccontextmanager
async def serving(folder: Path, mode: str = "ours", arguments: Sequence[str] = ()) -> AsyncGenerator[Peer]:
    """Run a server, by these arguments if given. `folder` gets its stderr and marker file. It must exit with 0."""
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        process = await anyio.open_process(
            arguments or forked(SCRIPT, mode, str(folder / "marker")), stderr=stderr, env=ENVIRONMENT
        )
    peer = Peer(process, errors)
    try:
        yield peer
        await peer.stdin.aclose()
        await peer.rest()
        status = await peer.end()
        assert status == 0, status
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
