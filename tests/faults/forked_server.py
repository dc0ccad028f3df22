"""Servers over stdio on a store's file, forked with all imported, so that many can be killed."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from signal import SIGKILL, Signals
from typing import IO

import anyio

from mcp_sessions import create_server, open_backend
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.transports.stdio.server import serve_stdio

from ..support.clients import ALL
from ..support.stdio_client import modern
from ..support.store_processes import PATIENCE, context


def serve(path: Path, source: Connection, sink: Connection) -> None:
    """Run the server, in a process of its own."""
    os.dup2(source.fileno(), 0)
    os.dup2(sink.fileno(), 1)
    source.close()
    sink.close()
    server = create_server(open_backend(f"sqlite:///{path}"), toolsets=ALL, confirm="off")
    anyio.run(serve_stdio, server, server.is_change)


@dataclass
class PipedServer:
    """The client's end of a server's pipes."""

    requests: int
    answers: IO[bytes]
    asked: int = 0

    def send(self, tool: str, **arguments: object) -> None:
        self.asked += 1
        frame = modern(self.asked, "tools/call", name=tool, arguments=arguments)
        os.write(self.requests, json.dumps(frame).encode() + b"\n")

    def receive(self) -> JsonObject | None:
        """Return the next result, None if the server is dead. An incomplete line does not count as a result."""
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            return None
        result: JsonObject = json.loads(line)["result"]
        assert not result.get("isError"), result
        return result["structuredContent"]

    def call(self, tool: str, **arguments: object) -> JsonObject:
        self.send(tool, **arguments)
        result = self.receive()
        assert result is not None
        return result


@dataclass
class ForkedServer(PipedServer):
    process: ForkServerProcess = field(kw_only=True)

    def end_after(self, seconds: float, how: Signals = SIGKILL) -> None:
        self.process.join(seconds)
        assert self.process.pid is not None
        os.kill(self.process.pid, how)
        self.process.join(PATIENCE)


@contextmanager
def forked_server(path: Path) -> Generator[ForkedServer]:
    processes = context()
    source, requests = processes.Pipe(duplex=False)
    answers, sink = processes.Pipe(duplex=False)
    process = processes.Process(target=serve, args=(path, source, sink))
    process.start()
    source.close()
    sink.close()
    with answers, requests, os.fdopen(os.dup(answers.fileno()), "rb") as lines:
        try:
            yield ForkedServer(requests.fileno(), lines, process=process)
        finally:
            process.kill()
            process.join(PATIENCE)
