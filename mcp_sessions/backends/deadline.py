"""The deadline of a call: one point in time for everything that a call waits for."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Set a deadline for the calls made in this context. A deadline that is set already applies if it ends earlier."""
    token = _deadline.set(time_limit(seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def no_deadline() -> Generator[None]:
    """Make calls without a deadline, in a task that goes on after the call that started it."""
    token = _deadline.set(None)
    try:
        yield
    finally:
        _deadline.reset(token)


def time_limit(seconds: float) -> float:
    """Return the end of a wait of `seconds`, or the deadline if that is earlier, on the event loop's clock."""
    ends, limit = anyio.current_time() + seconds, _deadline.get()
    return ends if limit is None else min(ends, limit)


def remaining(seconds: float) -> float:
    """Return how many seconds a wait of `seconds` may take before the deadline."""
    return max(time_limit(seconds) - anyio.current_time(), 0)
