"""Serves one client over stdin and stdout, with limits on its requests and an orderly shutdown."""

import asyncio
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse, RequestId

from ..frames import LineSplitter, LongLine, Refusal, read_frame
from .answer_check import AnswerCheck
from .calls_in_flight import DRAIN_SECONDS, InFlightCalls, busy_line
from .descriptors import MessageWriter, can_watch_stdio, claim_stdio
from .early_answers import EarlyAnswers
from .protocol_eras import serve_both_eras

_READ_SIZE = 65536
_MAX_BACKLOG = 4 * _READ_SIZE
_LINE_OVERHEAD = 64  # bytes that a queued line takes besides its content


def _every_tool_changes(tool: str) -> bool:
    return True


async def serve_stdio(
    server: MCPServer[Any],
    is_change: Callable[[str], bool] = _every_tool_changes,
    early: EarlyAnswers | None = None,
) -> None:
    """Serve until the client closes stdin or the process gets SIGTERM or SIGINT, then end running calls.

    `is_change` returns whether calls of a tool may take 5 seconds more to finish; calls of other tools are cancelled.
    `early` is the first part of the connection, which began before the server was loaded.
    If stdin is a file, on Windows, and without asyncio, the SDK's own stdio server is used, without these limits.
    """
    loop = _watching_loop()
    if loop is None:
        await server.run_stdio_async()
        return
    with anyio.CancelScope() as scope, claim_stdio() as (source, sink):
        calls = InFlightCalls(is_change)
        reader = MessageReader(loop, source, sink, calls, early)

        def stop() -> None:
            if reader.was_opened:
                reader.close()
            else:
                scope.cancel()

        with _on_signals(loop, stop):
            await serve_both_eras(server, reader, reader.writer, calls.run)


def _watching_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop if it can watch stdin and stdout, else None."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if sys.platform != "win32" and can_watch_stdio(loop) else None


@contextmanager
def _on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Generator[None]:
    # Only the main thread may handle signals.
    numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    previous_handlers = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


class MessageReader:
    """The SDK's read stream: reads messages from the client.

    It answers invalid messages and excess calls itself, stops reading while the client leaves too much unread, and ends
    when all admitted calls have ended.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: int,
        sink: int,
        calls: InFlightCalls,
        early: EarlyAnswers | None = None,
    ) -> None:
        self._early = early
        self._check = AnswerCheck(early) if early else None
        self.writer = MessageWriter(loop, sink, on_change=self._on_writer_change, check=self._check)
        self.was_opened = False
        self._loop = loop
        self._source = source
        self._calls = calls
        self._splitter = LineSplitter()
        self._lines: deque[bytes | LongLine] = deque()
        self._backlog = 0
        self._is_watching = False
        self._at_end = False
        self._is_closed = False
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Accept no more requests."""
        self._watch(False)
        self._is_closed = True
        self._changed.set()

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raise `anyio.EndOfStream` once the client has closed its end, or `close` was called, and all calls have ended.
        """
        while await self._has_line():
            line = self._lines.popleft()
            self._update_backlog(line, -1)
            message = self._read(line)
            if message is not None:
                return message
        self.close()
        if self.writer.awaited_replies:
            # No reply can arrive any more, so the call that waits for one ends now instead of after DRAIN_SECONDS.
            return SessionMessage(_no_reply(self.writer.awaited_replies.pop()))
        await self._calls.drain()
        raise anyio.EndOfStream

    async def _has_line(self) -> bool:
        if self._lines:
            # Let calls that don't wait for anything end before the next line is counted against the limit.
            await asyncio.sleep(0)
        while not self._is_closed and (self._lines or not self._at_end):
            if self._lines and not self.writer.is_full:
                return True
            self._changed.clear()
            await self._changed.wait()
        return False

    def _read(self, line: bytes | LongLine) -> SessionMessage | None:
        frame = read_frame(line)
        match frame:
            case Refusal():
                self.writer.write(frame.answer)
                return None if frame.substitute_reply is None else self._reply(frame.substitute_reply)
            case JSONRPCRequest() if self._calls.is_full:
                self.writer.write(busy_line(frame))
                return None
            case JSONRPCRequest():
                if self._check:
                    self._check.on_request(frame.id, frame.method, frame.params)
                return SessionMessage(frame, self._calls.admit(frame))
            case JSONRPCResponse() | JSONRPCError():
                return self._reply(frame)
            case _:
                return SessionMessage(frame)

    def _reply(self, frame: JSONRPCResponse | JSONRPCError) -> SessionMessage:
        if frame.id is not None:
            self.writer.awaited_replies.discard(frame.id)
        return SessionMessage(frame)

    def _on_readable(self) -> None:
        try:
            # Another process that shares stdin may have read it first.
            with suppress(BlockingIOError):
                self._receive(os.read(self._source, _READ_SIZE))
        except OSError:
            # The other end of a socket or terminal is gone.
            self._receive(b"")

    def _receive(self, chunk: bytes) -> None:
        for line in self._splitter.feed(chunk) if chunk else self._splitter.finish():
            self._lines.append(line)
            self._update_backlog(line, 1)
        if not chunk:
            self._at_end = True
            self._watch(False)
            # Close even if the client has stopped reading too, so that the process ends.
            self._loop.call_later(DRAIN_SECONDS, self.close)
        self._changed.set()

    def _on_writer_change(self) -> None:
        if self.writer.is_broken:
            self.close()
        self._changed.set()

    def _update_backlog(self, line: bytes | LongLine, sign: int) -> None:
        size = len(line) if isinstance(line, bytes) else len(line.head) + len(line.tail)
        self._backlog += sign * (size + _LINE_OVERHEAD)
        self._watch(self._backlog <= _MAX_BACKLOG and not self._at_end)

    def _watch(self, wanted: bool) -> None:
        if wanted == self._is_watching or self._is_closed:
            return
        self._is_watching = wanted
        if wanted:
            self._loop.add_reader(self._source, self._on_readable)
        else:
            self._loop.remove_reader(self._source)

    def _continue(self, early: EarlyAnswers) -> None:
        early.stop()
        self.writer.write(early.unsent)
        if early.received:
            self._receive(early.received)

    async def aclose(self) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        self.was_opened = True
        if self._early:
            self._continue(self._early)
        self._watch(True)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


def _no_reply(request_id: RequestId) -> JSONRPCError:
    error = ErrorData(code=CONNECTION_CLOSED, message="The client has disconnected.")
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=error)
