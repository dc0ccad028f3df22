"""Limits on HTTP requests: the size and duration of a body, and the number of concurrent requests."""

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
_MIN_CALLER_LIMIT = 4


def limit_body(app: ASGIApp, max_body: int) -> ASGIApp:
    """Return the application for bodies of at most `max_body` bytes that arrive in time; others get 413 or 408."""
    limited = RequestBodyLimitMiddleware(app, max_body)

    async def with_timeout(scope: Scope, receive: Receive, send: Send) -> None:
        deadline, is_complete, is_late = anyio.current_time() + BODY_SECONDS, False, False

        async def receive_in_time() -> Message:
            nonlocal is_complete, is_late
            if is_complete:
                return await receive()
            with anyio.CancelScope(deadline=deadline) as waiting:
                message = await receive()
                is_complete = not message.get("more_body", False)
                return message
            is_late = waiting.cancelled_caught
            return {"type": "http.disconnect"}

        await limited(scope, receive_in_time, send)
        if is_late:
            await Response("Request body too slow", 408, headers={"Connection": "close"})(scope, receive, send)

    return with_timeout


class ConcurrencyLimit:
    """An application that handles at most `max_concurrent` requests at once; others get 503 and Retry-After.

    There is no queue, since it would only grow and delay every call. An authenticated caller may have a quarter of the
    requests, but at least 4, so that nobody can occupy the server.
    """

    def __init__(self, app: ASGIApp, max_concurrent: int) -> None:
        self._app = app
        self._max_concurrent = max_concurrent
        self._caller_limit = min(max_concurrent, max(_MIN_CALLER_LIMIT, max_concurrent // 4))
        self._running = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        subject = (user.access_token.subject or "") if isinstance(user, AuthenticatedUser) else ""
        if self._running.total() >= self._max_concurrent:
            await _refusal(f"too many concurrent calls on this server ({self._max_concurrent})")(scope, receive, send)
            return
        if subject and self._running[subject] >= self._caller_limit:
            await _refusal(f"you have too many concurrent calls ({self._caller_limit})")(scope, receive, send)
            return
        self._running[subject] += 1
        is_answered = False

        async def send_and_count(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.body" and not message.get("more_body") and not is_answered:
                is_answered = True  # before sending, since a client may call again once it has the response
                self._finish(subject)
            await send(message)

        try:
            await self._app(scope, receive, send_and_count)
        finally:
            if not is_answered:
                self._finish(subject)

    def _finish(self, subject: str) -> None:
        self._running[subject] -= 1
        if not self._running[subject]:
            del self._running[subject]


def _refusal(reason: str) -> JSONResponse:
    busy = Busy(f"{reason}. Try again in {RETRY_SECONDS} second.")
    error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=CONNECTION_CLOSED, message=busy.text))
    body = error.model_dump(by_alias=True, exclude_unset=True)
    return JSONResponse(body, 503, headers={"Retry-After": str(RETRY_SECONDS)})
