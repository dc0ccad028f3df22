"""How much is done at once over HTTP."""

from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.types import CONNECTION_CLOSED, ErrorData, JSONRPCError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Busy

RETRY_SECONDS = 1


def whole(app: ASGIApp, max_body: int) -> ASGIApp:
    """The application for requests that came whole and are at most `max_body` bytes long; 413 for longer ones.

    It isn't called for a client that left before: the SDK would log that as a failure of the server's.
    """

    async def unless_broken_off(scope: Scope, receive: Receive, send: Send) -> None:
        came = [await receive()]
        if came[0]["type"] == "http.disconnect" or came[0].get("more_body", False):
            return

        async def again() -> Message:
            return came.pop() if came else await receive()

        await app(scope, again, send)

    return RequestBodyLimitMiddleware(unless_broken_off, max_body)


class AtOnce:
    """An application that runs at most `most` requests at once; beyond them a client is told when to come back.

    None waits in a queue, which would only grow while everybody's call becomes late.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running >= self._most:
            await self._refusal()(scope, receive, send)
            return
        self._running += 1
        is_answered = False

        async def watched(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.body" and not message.get("more_body") and not is_answered:
                is_answered = True  # before it is sent: whoever has the answer may call again
                self._running -= 1
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._running -= not is_answered

    def _refusal(self) -> JSONResponse:
        busy = Busy(f"too many calls at once here ({self._most}). Try again in {RETRY_SECONDS} second.")
        said = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=CONNECTION_CLOSED, message=busy.text))
        body = said.model_dump(by_alias=True, exclude_unset=True)
        return JSONResponse(body, 503, headers={"Retry-After": str(RETRY_SECONDS)})
