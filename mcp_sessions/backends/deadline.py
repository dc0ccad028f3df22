"""The deadline of a call: one point in time for everything that a call waits for."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Set a deadline for the calls made in this context. It can only shorten the one that is set already."""
    token = _deadline.set(time_limit(seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_limit(seconds: float) -> float:
    """Return when something that may take `seconds` must end, on the event loop's clock."""
    ends, limit = anyio.current_time() + seconds, _deadline.get()
    return ends if limit is None else min(ends, limit)
