"""Serves both eras of the protocol on one connection, deciding for each request on its own.

The SDK's own loop decides once, on the first request, and refuses the other era for the life of the
process. Clients that probe with `server/discover`, lose patience during start-up and go on with
`initialize` then never connect (github/copilot-cli#4525 and #4888, anthropics/claude-code#96183).
A request of the later era carries its protocol version in `_meta`, and needs nothing that came before
it; so it can be served beside a connection of the earlier era, as the SDK does over HTTP.

All that the stdio runner rests on below the SDK's documented surface is imported here: the dispatcher's
constructor and `run`, the protocols of its two streams, that it hands a message's metadata back with the
request and answers each request once, `ServerRunner`, `modern_on_request`, `classify_inbound_request`,
`Connection.for_loop`, and `MCPServer._lowlevel_server` with its `lifespan`. tests/transports/test_stdio.py and
tests/transports/test_stdio_end.py pin what they do.
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
    inbox: ReadStream[SessionMessage | Exception],
    outbox: WriteStream[SessionMessage],
    run: Callable[[MessageMetadata, Handler], Awaitable[dict[str, Any]]],
) -> None:
    """Serve until `inbox` ends. `run` is given each request's metadata and what handles the request."""
    lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]  # MCPServer hands it out nowhere
    async with lowlevel.lifespan(lowlevel) as state:
        # `initialize` is handled before the next message is read, so that a client may send both at once.
        inline = frozenset({"initialize"})
        dispatcher = JSONRPCDispatcher[TransportContext](inbox, outbox, inline_methods=inline)
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
    # A client that names the version it negotiated by `initialize`: over HTTP the SDK decides so too.
    return meta[PROTOCOL_VERSION_META_KEY] in HANDSHAKE_PROTOCOL_VERSIONS


def _checked(serve: OnRequest) -> OnRequest:
    async def checked(context: Context, method: str, params: Params) -> dict[str, Any]:
        route = classify_inbound_request({"method": method, "params": params})
        if isinstance(route, InboundLadderRejection):
            raise MCPError(code=route.code, message=route.message, data=route.data)
        return await serve(context, method, params)

    return checked
