"""Answers calls without an event stream, for which the SDK starts two tasks in each call.

A stream is for progress notifications, for pings during a long call, and so that a client that disconnects cancels its
call. Here, the answer becomes a stream only once a call takes long, and `connections.py` cancels the calls of a lost
connection.
"""

import asyncio
from importlib.metadata import version
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.types import JSONRPCMessage, JSONRPCRequest
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from .connections import CANCEL

PING_SECONDS = 15  # as the SDK's
_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # else nginx keeps events back
]
_IS_SDK_KNOWN = version("mcp").startswith("2.3.")
"""Whether the internal function of the SDK is the one that this module calls. Otherwise all calls get a stream."""


class PlainAnswers:
    """An application that answers calls of protocol version 2026-07-28 with JSON."""

    def __init__(self, manager: StreamableHTTPSessionManager, security: TransportSecuritySettings) -> None:
        self._manager = manager
        self._security = security

    def accepts(self, scope: Scope, message: JSONRPCMessage) -> bool:
        """Return whether this application can answer the message: a call that sends no progress notifications."""
        if not _IS_SDK_KNOWN or CANCEL not in scope:
            return False
        if not isinstance(message, JSONRPCRequest) or message.method != "tools/call":
            return False
        headers = Headers(scope=scope)
        return (
            headers.get(MCP_PROTOCOL_VERSION_HEADER) in MODERN_PROTOCOL_VERSIONS
            and "text/event-stream" in headers.get("accept", "")
            and progress_token_from_params(message.params) is None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The SDK has no public way to choose between JSON and a stream for each request.
        from mcp.server._streamable_http_modern import handle_modern_request

        state: Any = self._manager._lifespan_state  # pyright: ignore[reportPrivateUsage]
        answer = LateAnswer(send, PING_SECONDS)
        try:
            await handle_modern_request(self._manager.app, self._security, True, state, scope, receive, answer.send)
        finally:
            answer.stop()


class LateAnswer:
    """Sends an answer in JSON, or as the last event of a stream if it takes longer than `seconds`.

    The stream gets a ping at once and then every `seconds`, so that no proxy takes the connection for idle.
    """

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds
        self._is_stream = False
        self._pings: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    async def send(self, message: Message) -> None:
        """Send a message of an answer whose body is in one message."""
        self.stop()
        if not self._is_stream:
            await self._send(message)
        elif message["type"] == "http.response.body":
            await self._send({**message, "body": b"event: message\r\ndata: " + message["body"] + b"\r\n\r\n"})

    def stop(self) -> None:
        """Send no more pings."""
        self._timer.cancel()
        if self._pings is not None:
            self._pings.cancel()

    def _begin(self) -> None:
        self._pings = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        self._is_stream = True
        await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        while True:
            await self._send({"type": "http.response.body", "body": b": ping\r\n\r\n", "more_body": True})
            await asyncio.sleep(self._seconds)
