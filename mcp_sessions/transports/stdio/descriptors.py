"""Reserves stdin and stdout for the protocol, and writes messages to stdout."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import anyio
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse, RequestId
from pydantic_core import PydanticSerializationError

from .answer_check import AnswerCheck

HIGH_WATER = 1024 * 1024
FLUSH_SECONDS = 1


def can_watch_stdio(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether `loop` can watch stdin and stdout: pipes, sockets, terminals, and for stdout files."""
    try:
        if stat.S_ISREG(os.fstat(0).st_mode):
            return False
        # epoll refuses some devices, such as /dev/null, only when they are added.
        loop.add_reader(0, lambda: None)
        loop.remove_reader(0)
        # A file is always ready, and can't be watched.
        if not stat.S_ISREG(os.fstat(1).st_mode):
            loop.add_writer(1, lambda: None)
            loop.remove_writer(1)
    except (OSError, NotImplementedError):
        return False
    return True


@contextmanager
def claim_stdio() -> Generator[tuple[int, int]]:
    """Yield new descriptors for stdin and stdout. Until the block ends, 0 is /dev/null and 1 is stderr.

    This keeps a stray print or a child process from disturbing the protocol.
    """
    null = os.open(os.devnull, os.O_RDWR)
    source, sink = os.dup(0), os.dup(1)
    was_blocking = os.get_blocking(sink)
    try:
        os.dup2(null, 0)
        # In a process that was started without stderr, descriptor 2 is something else.
        os.dup2(2 if sys.__stderr__ else null, 1)
        os.close(null)
        _flush_stray_output()
        os.set_blocking(sink, False)
        yield source, sink
    finally:
        # Otherwise buffered output would be written after the last message when the interpreter exits.
        _flush_stray_output()
        os.set_blocking(sink, was_blocking)
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.close(source)
        os.close(sink)


def _flush_stray_output() -> None:
    # AttributeError: a process without a console has no sys.stdout.
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()


class MessageWriter:
    """The SDK's write stream: sends messages to the client, one per line."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptor: int,
        *,
        on_change: Callable[[], None],
        check: AnswerCheck | None = None,
    ) -> None:
        """Create a writer. It calls `on_change` when the client has read more, or has closed its end.

        `check` knows which responses were sent already.
        """
        self.awaited_replies: set[RequestId] = set()
        self.is_broken = False
        self._loop = loop
        self._descriptor = descriptor
        self._on_change = on_change
        self._check = check
        self._unsent = bytearray()
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return len(self._unsent) > HIGH_WATER

    async def send(self, item: SessionMessage) -> None:
        """Write a message, and wait while more than HIGH_WATER bytes are unsent.

        Raise `anyio.BrokenResourceError` if the client has closed its end, and `MCPError` if the message can't be
        serialized.
        """
        message = item.message
        try:
            line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        except PydanticSerializationError as error:
            raise MCPError(code=INTERNAL_ERROR, message="Internal server error") from error
        if isinstance(message, JSONRPCRequest):
            self.awaited_replies.add(message.id)
        self.write(self._bytes_to_send(message, line))
        while self.is_full:
            await self._wait_for_change()
        if self.is_broken:
            raise anyio.BrokenResourceError

    def _bytes_to_send(self, message: JSONRPCMessage, line: bytes) -> bytes:
        if self._check is None or not isinstance(message, JSONRPCResponse | JSONRPCError):
            return line
        return self._check.bytes_to_send(message.id, line)

    def write(self, line: bytes) -> None:
        """Write as much of `line` as possible without blocking, and the rest when the client has read more."""
        if not self._unsent and not self.is_broken:
            line = line[self._push(line) :]
            if line:
                self._loop.add_writer(self._descriptor, self._push_unsent)
        if not self.is_broken:
            self._unsent += line

    def _push(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._descriptor, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.is_broken = True
            self._on_change()
            return len(data)

    def _push_unsent(self) -> None:
        del self._unsent[: self._push(self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._descriptor)
        self._changed.set()
        self._on_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def aclose(self) -> None:
        """Wait at most FLUSH_SECONDS for the client to read the rest."""
        with anyio.move_on_after(FLUSH_SECONDS, shield=True):
            while self._unsent:
                await self._wait_for_change()
        self._loop.remove_writer(self._descriptor)
        self.is_broken = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()
