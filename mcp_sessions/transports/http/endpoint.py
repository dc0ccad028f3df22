"""Checks requests to the MCP endpoint before the SDK sees them: the SDK's own refusals quote the request."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..frames import Refusal, read_frame


class Endpoint:
    """An application for POST requests with one JSON-RPC message each; it answers all others itself.

    Requests must come with their whole body in the first ASGI message.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            # GET is how older clients ask for a stream beside their calls: nothing is ever sent there.
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        first = await receive()
        frame = read_frame(first["body"])
        if isinstance(frame, Refusal):
            status = 200 if frame.is_result else 400
            await Response(frame.answer, status, media_type="application/json")(scope, receive, send)
            return
        unread = [first]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(_with_accept(scope), replay, send)


def _with_accept(scope: Scope) -> Scope:
    """Return the scope with `Accept: */*` if the client sent no Accept header, or an empty one (RFC 9110 12.5.1)."""
    if Headers(scope=scope).get("accept"):
        return scope
    headers = MutableHeaders(raw=list(scope["headers"]))
    headers["accept"] = "*/*"
    return {**scope, "headers": headers.raw}
