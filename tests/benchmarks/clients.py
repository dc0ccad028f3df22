"""The cheapest clients there are, so that what is measured is the server: bytes over pipes and sockets."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

from tests.benchmarks.measuring import processor_seconds
from tests.support.stdio_client import Frame, initialize, modern, notification

ROOT = Path(__file__).parent.parent.parent
OURS = (sys.executable, "-m", "mcp_sessions", "serve")
SDK = (sys.executable, str(ROOT / "tests/support/servers/hello_server.py"), "stdio")
SDK_HTTP = (*SDK[:-1], "http")


def environment(folder: Path, variables: Mapping[str, str] = {}) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MCP_SESSIONS_")}
    return {**plain, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(folder), "HOME": str(folder), **variables}


class Asked(Protocol):
    def ask(self, data: bytes) -> bytes:
        """Send a request, and return the whole answer."""
        ...


class StdioServer:
    """A server process, asked over its pipes in the handshake's era."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0, env=environment(folder)
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._lines = os.fdopen(os.dup(self._stdout.fileno()), "rb", buffering=65536)
        self.ask(line(initialize(0)))
        self._stdin.write(line(notification("notifications/initialized")))

    def ask(self, data: bytes) -> bytes:
        """Return the response, and leave out the notifications before it."""
        self._stdin.write(data)
        while (received := self._lines.readline()).startswith(b'{"jsonrpc":"2.0","method":'):
            pass
        return received

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stdin.close()
        self._lines.close()
        self._stdout.close()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()


class Connection:
    """One connection to an HTTP server that stays open."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=15)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data: bytes) -> bytes:
        self._socket.sendall(data)
        answer = b""
        while not is_whole(answer):
            answer += self._socket.recv(1 << 20)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


class HttpServer:
    """A server process that says where it serves, and a connection to it."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(folder))
        assert self.process.stderr is not None
        words: list[str] = []
        while not any(word.startswith("http://") for word in words):
            said = self.process.stderr.readline().decode()
            assert said, "the server ended"
            words = said.split()
        url = next(word for word in words if word.startswith("http://"))
        host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
        self.address = (host, int(port))
        self._connection = Connection(*self.address)
        self.ask = self._connection.ask

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)
        self.process.terminate()
        assert self.process.stderr is not None
        self.process.stderr.close()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()


def is_whole(answer: bytes) -> bool:
    """Return whether all of an HTTP response is there: of a known length, or a stream that has ended."""
    head, _, body = answer.partition(b"\r\n\r\n")
    _, is_known, length = head.lower().partition(b"content-length: ")
    return len(body) == int(length.split(b"\r\n")[0]) if is_known else body.endswith(b"0\r\n\r\n")


def line(frame: Frame) -> bytes:
    return json.dumps(frame).encode() + b"\n"


def post(frame: Frame, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of an HTTP request with a message."""
    body = json.dumps(frame).encode()
    given = {
        "Host": "127.0.0.1:8000",  # the SDK wants a port
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **headers,
        "Content-Length": str(len(body)),
    }
    return "\r\n".join(["POST /mcp HTTP/1.1", *map(": ".join, given.items()), "", ""]).encode() + body


def http_call(tool: str, **arguments: Any) -> bytes:
    """Return a tool call in the form of protocol version 2026-07-28."""
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
    return post(modern(1, "tools/call", name=tool, arguments=arguments), headers)


def median_call(server: Asked, data: bytes, least: int, calls: int) -> float:
    """Return the seconds of the median call. Each answer must have at least so many bytes and no error."""
    taken: list[float] = []
    for _ in range(calls):
        began = perf_counter()
        answer = server.ask(data)
        taken.append(perf_counter() - began)
        assert len(answer) >= least, answer
        assert b'"isError":true' not in answer, answer
    return sorted(taken)[calls // 2]


def processor_call(server: StdioServer | HttpServer, data: bytes, calls: int) -> float:
    """Return the seconds of the server's processor time for one call."""
    began = processor_seconds(server.process.pid)
    for _ in range(calls):
        server.ask(data)
    return (processor_seconds(server.process.pid) - began) / calls
