"""The requests in flight on one connection: their limit, and how they end when the connection ends."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.types import CONNECTION_CLOSED, INTERNAL_ERROR, JSONRPCRequest
from pydantic import ValidationError

from ...errors import traceback_without_message
from ..frames import error_line, tool_error, tool_error_line
from .protocol_eras import Handler

MAX_IN_FLIGHT = 64
DRAIN_SECONDS = 5
_CANCEL_SECONDS = 1

BUSY = f"busy: too many concurrent calls on this server ({MAX_IN_FLIGHT}). Try again in 1 second."
READ_STOPPED = "unavailable: the server was stopped before this call ended. Repeat it when the server runs again."
CHANGE_STOPPED = (
    "outcome_unknown: the server was stopped before this change was confirmed. "
    "When it runs again, check whether the change was made before repeating the call."
)
# Answered from memory: cancelling them would save no time, and `printf … | mcp-sessions` expects responses.
_FAST_METHODS = frozenset(
    {"initialize", "ping", "server/discover", "tools/list", "prompts/list", "resources/templates/list"}
)

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class InFlightCall(ServerMessageMetadata):
    """One request. It is the metadata of its message, which the SDK passes on with the request."""

    number: int
    is_tool: bool
    may_finish: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class InFlightCalls:
    """The requests that are being handled."""

    def __init__(self, is_change: Callable[[str], bool]) -> None:
        self._is_change = is_change
        self._running: dict[int, InFlightCall] = {}
        self._admitted = 0
        self._ended = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return len(self._running) >= MAX_IN_FLIGHT

    def admit(self, request: JSONRPCRequest) -> InFlightCall:
        is_tool = request.method == "tools/call"
        tool = (request.params or {}).get("name")
        number = self._admitted = self._admitted + 1
        is_change = is_tool and isinstance(tool, str) and self._is_change(tool)
        may_finish = is_change or request.method in _FAST_METHODS
        self._running[number] = InFlightCall(number=number, is_tool=is_tool, may_finish=may_finish)
        return self._running[number]

    async def run(self, metadata: MessageMetadata, handler: Handler) -> dict[str, Any]:
        """Return the handler's result, or an error result if the call was cancelled with the connection."""
        assert isinstance(metadata, InFlightCall)  # `MessageReader` admits every request
        try:
            with metadata.scope:
                return await handler()
        except (MCPError, ValidationError):
            raise
        except Exception as error:
            # The dispatcher would send the exception's message to the client.
            logger.error("the handler of a request failed: %s", traceback_without_message(error))
            raise MCPError(code=INTERNAL_ERROR, message="Internal server error") from error
        finally:
            del self._running[metadata.number]
            self._ended.set()
        if metadata.is_tool:
            return tool_error(CHANGE_STOPPED if metadata.may_finish else READ_STOPPED)
        raise MCPError(code=CONNECTION_CLOSED, message="The server was stopped before it could answer.")

    async def drain(self) -> None:
        """Cancel the calls that only read, and after DRAIN_SECONDS the rest."""
        self._cancel(include_changes=False)
        await self._wait_for_end(DRAIN_SECONDS)
        self._cancel(include_changes=True)
        await self._wait_for_end(_CANCEL_SECONDS)

    def _cancel(self, *, include_changes: bool) -> None:
        for call in self._running.values():
            if include_changes or not call.may_finish:
                call.scope.cancel()

    async def _wait_for_end(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._running:
                self._ended.clear()
                await self._ended.wait()


def busy_line(request: JSONRPCRequest) -> bytes:
    """Return the response to a request beyond MAX_IN_FLIGHT."""
    if request.method == "tools/call":
        return tool_error_line(request.id, BUSY)
    return error_line(request.id, CONNECTION_CLOSED, BUSY)
