"""Serves both eras of the protocol (before 2026-07-28, and since) on one connection, request by request.

The SDK's own loop decides once, on the first request, and then refuses the other era. Clients that probe with
`server/discover`, time out during start-up and continue with `initialize` can then never connect
(github/copilot-cli#4525 and #4888, anthropics/claude-code#96183). A request of the later era has its protocol version
in `_meta` and doesn't depend on earlier requests, so it can be served on a connection of the earlier era, as the SDK
does over HTTP.

This module imports everything undocumented in the SDK that the stdio transport relies on: the dispatcher's constructor
and `run`, the protocols of its two streams, that it passes a message's metadata with the request and answers each
request once, `ServerRunner`, `modern_on_request`, `classify_inbound_request`, `Connection.for_loop`, and
`MCPServer._lowlevel_server` with its `lifespan`. tests/transports/test_stdio.py and
tests/transports/test_stdio_end.py test that behaviour.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp.server import MCPServer
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded, modern_on_request
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.dispatcher import DispatchContext, OnRequest
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import MessageMetadata, SessionMessage
from mcp.shared.transport_context import TransportContext
from mcp.types import PROTOCOL_VERSION_META_KEY
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

Context = DispatchContext[TransportContext]
Params = Mapping[str, Any] | None
Handler = Callable[[], Awaitable[dict[str, Any]]]


async def serve_both_eras(
    server: MCPServer[Any],
    reader: ReadStream[SessionMessage | Exception],
    writer: WriteStream[SessionMessage],
    run: Callable[[MessageMetadata, Handler], Awaitable[dict[str, Any]]],
) -> None:
    """Serve until `reader` ends. `run` is called with each request's metadata and the handler to call."""
    lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]  # MCPServer has no public access to it
    async with lowlevel.lifespan(lowlevel) as state:
        # `initialize` is handled before the next message is read, so that a client doesn't have to wait for the
        # response.
        inline = frozenset({"initialize"})
        dispatcher = JSONRPCDispatcher[TransportContext](reader, writer, inline_methods=inline)
        connection = Connection.for_loop(dispatcher)
        handshake = ServerRunner(lowlevel, connection, state)
        modern = _checked(modern_on_request(lowlevel, state))

        async def on_request(context: Context, method: str, params: Params) -> dict[str, Any]:
            serve = handshake.on_request if _is_of_handshake_era(method, params) else modern
            return await run(context.message_metadata, lambda: serve(context, method, params))

        try:
            await dispatcher.run(on_request, handshake.on_notify)
        finally:
            await aclose_shielded(connection)


def _is_of_handshake_era(method: str, params: Params) -> bool:
    meta = (params or {}).get("_meta")
    if method == "initialize" or not isinstance(meta, Mapping) or PROTOCOL_VERSION_META_KEY not in meta:
        return True
    # The client repeats the version that it negotiated with `initialize`. The SDK decides the same over HTTP.
    return meta[PROTOCOL_VERSION_META_KEY] in HANDSHAKE_PROTOCOL_VERSIONS


def _checked(serve: OnRequest) -> OnRequest:
    async def checked(context: Context, method: str, params: Params) -> dict[str, Any]:
        route = classify_inbound_request({"method": method, "params": params})
        if isinstance(route, InboundLadderRejection):
            raise MCPError(code=route.code, message=route.message, data=route.data)
        return await serve(context, method, params)

    return checked
