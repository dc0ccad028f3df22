"""One read or change over HTTP: its state across all attempts, and an OpenTelemetry span for each attempt."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio
import httpx2
from opentelemetry.trace import Span

from ...errors import Timeout
from ..telemetry import enter_span, record_error, start_span, trace_headers
from .responses import Reply
from .retry import AttemptFailure, may_retry_change, may_retry_read

MAX_BYTES = 32 * 1024 * 1024


@dataclass
class Exchange:
    """A request and the state of its attempts.

    `deadline` is by anyio's clock. `attempt` counts from 0, and `status` is that of its response, 0 before there is
    one. `is_queued`: the attempt waits for a connection. `may_have_run`: the server may have seen the change.
    """

    request: httpx2.Request
    deadline: float
    max_bytes: int = MAX_BYTES
    is_read: bool = True
    is_idempotent: bool = True
    is_queued: bool = False
    may_have_run: bool = False
    status: int = 0
    attempt: int = 0

    async def trace(self, event: str, info: object) -> None:
        """Receive the trace events of httpcore2: once headers are sent, the server may have seen the request."""
        if event == "http11.send_request_headers.started":
            self.may_have_run = True

    def may_retry(self, failure: AttemptFailure, *, earlier_may_have_run: bool) -> bool:
        """Return whether the request may be sent again.

        `earlier_may_have_run`: the server may have run an attempt before the one that failed.
        """
        if self.is_read:
            return may_retry_read(failure, self.attempt)
        return may_retry_change(failure, self.attempt, after_drop=self.is_idempotent and not earlier_may_have_run)

    async def send_in_span(
        self, send: Callable[["Exchange"], Awaitable[Reply | AttemptFailure]], server: Mapping[str, str | int]
    ) -> Reply | AttemptFailure:
        """Make one attempt with `send`, in a span if spans are recorded. `server` has attributes of the span."""
        method = self.request.method
        span = start_span(method, {"http.request.method": method, **server})
        if span is None:
            return await send(self)
        with enter_span(span):
            self.request.headers.update(trace_headers())
            self.status = 0
            try:
                outcome = await send(self)
            finally:
                self._set_attributes(span)
            if isinstance(outcome, AttemptFailure):
                cause = outcome.cause.__class__.__qualname__ if outcome.cause else ""
                record_error(span, outcome.error, str(self.status) if self.status >= 400 else cause)
            return outcome

    def _set_attributes(self, span: Span) -> None:
        if self.attempt:
            span.set_attribute("http.request.resend_count", self.attempt)
        if self.status:
            span.set_attribute("http.response.status_code", self.status)
        if anyio.current_time() >= self.deadline:
            record_error(span, Timeout(""))
