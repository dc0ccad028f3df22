"""Checks requests to the MCP endpoint before the SDK does, since the SDK's errors quote the request."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..frames import Refusal, read_frame
from .plain_answers import PlainAnswers


class Endpoint:
    """An application that passes on POST requests with one JSON-RPC message, and answers all others itself.

    `plain` gets the messages that it accepts, and `app` the others.
    The first ASGI message must have the whole body, as `RequestBodyLimitMiddleware` provides it.
    """

    def __init__(self, app: ASGIApp, plain: PlainAnswers | None = None) -> None:
        self._app = app
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            # Older clients use GET to open a stream for messages outside of calls; this server never sends any.
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        first = await receive()
        if first["type"] == "http.disconnect" or first.get("more_body", False):
            return  # the client left; the SDK would log that as a failure of the server
        frame = read_frame(first["body"])
        if isinstance(frame, Refusal):
            status = 200 if frame.is_result else 400
            await Response(frame.answer, status, media_type="application/json")(scope, receive, send)
            return
        unread = [first]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        app = self._plain if self._plain is not None and self._plain.accepts(scope, frame) else self._app
        await app(_with_accept(scope), replay, send)


def _with_accept(scope: Scope) -> Scope:
    """Return the scope with `Accept: */*` if the client sent no Accept header, or an empty one (RFC 9110 12.5.1)."""
    if Headers(scope=scope).get("accept"):
        return scope
    headers = MutableHeaders(raw=list(scope["headers"]))
    headers["accept"] = "*/*"
    return {**scope, "headers": headers.raw}
