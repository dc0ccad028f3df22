"""Requests to a backend's system as OpenTelemetry's spans of a client, under those that the MCP SDK makes of calls.

Without an OpenTelemetry SDK there are none. Names and attributes are its semantic conventions for clients of HTTP and
of databases. No span holds a URL, an id, a credential, a statement or anything that somebody stored.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span, get_tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..errors import Conflict, Invalid, NotFound, SessionsError

_tracer = get_tracer("mcp_sessions")
_propagator = TraceContextTextMapPropagator()  # the trace alone: what else a caller's baggage holds goes nowhere

_CALLERS_MISTAKES = (Invalid, NotFound, Conflict)


def started(name: str, attributes: Mapping[str, str | int]) -> Span | None:
    """A span that is yet to be entered with `within`, under one that is recorded: the SDK's, of the client's call.

    None where there is none. To ask takes some 0.2 µs, and to ask for a span that nobody records four times that.
    """
    if not get_current_span().is_recording():
        return None
    return _tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


@contextmanager
def within(span: Span) -> Generator[None]:
    """What happens inside is the span's. It ends then, and bears the error that it ended with."""
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            fail(span, error)
            raise


def fail(span: Span, error: Exception, type: str = "") -> None:
    """Mark what went wrong, by its type alone; a mistake of the caller's is none of the system's."""
    if isinstance(error, _CALLERS_MISTAKES):
        return
    named = error.code if isinstance(error, SessionsError) else error.__class__.__qualname__
    span.set_attribute("error.type", type or named)
    span.set_status(StatusCode.ERROR)


def headers_of() -> dict[str, str]:
    """What tells a system of the span that this is called within (W3C Trace Context)."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers
