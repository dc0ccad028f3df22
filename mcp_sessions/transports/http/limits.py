"""How much is done at once over HTTP."""

from collections import Counter

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.types import CONNECTION_CLOSED, ErrorData, JSONRPCError
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import Busy

RETRY_SECONDS = 1
BODY_SECONDS = 10
_LEAST_SHARE = 4


def whole(app: ASGIApp, max_body: int) -> ASGIApp:
    """The application for requests that came whole and in time, of at most `max_body` bytes; else 413, or 408.

    It isn't called for a client that left before: the SDK would log that as a failure of the server's.
    """

    async def unless_broken_off(scope: Scope, receive: Receive, send: Send) -> None:
        came = [await receive()]
        if came[0]["type"] == "http.disconnect" or came[0].get("more_body", False):
            return

        async def again() -> Message:
            return came.pop() if came else await receive()

        await app(scope, again, send)

    limited = RequestBodyLimitMiddleware(unless_broken_off, max_body)

    async def in_time(scope: Scope, receive: Receive, send: Send) -> None:
        late_at, is_whole, is_late = anyio.current_time() + BODY_SECONDS, False, False

        async def next_part() -> Message:
            nonlocal is_whole, is_late
            if is_whole:
                return await receive()
            with anyio.CancelScope(deadline=late_at) as waiting:
                message = await receive()
                is_whole = not message.get("more_body", False)
                return message
            is_late = waiting.cancelled_caught
            return {"type": "http.disconnect"}

        await limited(scope, next_part, send)
        if is_late:
            await Response("Request body too slow", 408, headers={"Connection": "close"})(scope, receive, send)

    return in_time


class AtOnce:
    """An application that runs at most `most` requests at once; beyond them a client is told when to come back.

    None waits in a queue, which would only grow while everybody's call becomes late. Where callers say who they
    are, one has at most a quarter of the places, so that none can take them all.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._share = min(most, max(_LEAST_SHARE, most // 4))
        self._running = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        subject = (user.access_token.subject or "") if isinstance(user, AuthenticatedUser) else ""
        if self._running.total() >= self._most:
            await _refusal(f"too many calls at once here ({self._most})")(scope, receive, send)
            return
        if subject and self._running[subject] >= self._share:
            await _refusal(f"too many calls of yours at once ({self._share})")(scope, receive, send)
            return
        self._running[subject] += 1
        is_answered = False

        async def watched(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.body" and not message.get("more_body") and not is_answered:
                is_answered = True  # before it is sent: whoever has the answer may call again
                self._leave(subject)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if not is_answered:
                self._leave(subject)

    def _leave(self, subject: str) -> None:
        self._running[subject] -= 1
        if not self._running[subject]:
            del self._running[subject]


def _refusal(reason: str) -> JSONResponse:
    busy = Busy(f"{reason}. Try again in {RETRY_SECONDS} second.")
    said = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=CONNECTION_CLOSED, message=busy.text))
    body = said.model_dump(by_alias=True, exclude_unset=True)
    return JSONResponse(body, 503, headers={"Retry-After": str(RETRY_SECONDS)})
