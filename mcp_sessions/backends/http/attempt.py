"""One read or change over HTTP, over all its tries: how far it has come, and a span for each try."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio
import httpx2
from opentelemetry.trace import Span

from ...errors import Timeout
from ..telemetry import fail, headers_of, started, within
from .responses import Reply
from .retry import Failure, may_change_again, may_read_again

MOST_BYTES = 32 * 1024 * 1024


@dataclass
class Exchange:
    """`status` is that of the last answer, 0 before there is one; `tries` are those before this one."""

    request: httpx2.Request
    deadline: float
    most_bytes: int = MOST_BYTES
    reads: bool = True
    repeatable: bool = True
    queued: bool = False
    may_have_run: bool = False
    status: int = 0
    tries: int = 0

    async def trace(self, event: str, info: object) -> None:
        """What httpcore2 tells about a change: from here on, the server may have seen it."""
        if event == "http11.send_request_headers.started":
            self.may_have_run = True

    def may_go_again(self, failure: Failure, retries: int, *, in_doubt: bool) -> bool:
        """`in_doubt`: a try before this one may have run."""
        if self.reads:
            return may_read_again(failure, retries)
        return may_change_again(failure, retries, drops=self.repeatable and not in_doubt)

    async def traced(
        self, send: Callable[["Exchange"], Awaitable[Reply | Failure]], server: Mapping[str, str | int]
    ) -> Reply | Failure:
        """One try, as a span where such are recorded. `server` is its address and port, as attributes."""
        method = self.request.method
        span = started(method, {"http.request.method": method, **server})
        if span is None:
            return await send(self)
        with within(span):
            self.request.headers.update(headers_of())
            self.status = 0
            try:
                outcome = await send(self)
            finally:
                self._tell(span)
            if isinstance(outcome, Failure):
                cause = outcome.cause.__class__.__qualname__ if outcome.cause else ""
                fail(span, outcome.error, str(self.status) if self.status >= 400 else cause)
            return outcome

    def _tell(self, span: Span) -> None:
        if self.tries:
            span.set_attribute("http.request.resend_count", self.tries)
        if self.status:
            span.set_attribute("http.response.status_code", self.status)
        if anyio.current_time() >= self.deadline:
            fail(span, Timeout(""))
