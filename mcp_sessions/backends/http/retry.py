"""Retries: the kinds of failed requests, which of them are sent again, and when."""

import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from time import monotonic

from ...errors import SessionsError

_DAY = 86_400


class FailureKind(Enum):
    """How an attempt to send a request failed."""

    UNSENT = auto()
    """No part of the request was sent."""
    REFUSED = auto()
    """The server refused to run the request."""
    REDIRECTED = auto()
    """The server answered with a redirect (3xx), which is not followed. It may have run the request."""
    RATE_LIMITED = auto()
    """The server refused the request because there are too many (429)."""
    DROPPED = auto()
    """The connection was closed before a response began."""
    GATEWAY = auto()
    """A gateway gave up waiting for the server (502, 504), which may still run the request."""
    OVERLOADED = auto()
    """The server is overloaded or down for maintenance (503)."""
    FAILED = auto()
    """The server failed (500, or any 5xx but those above). It would fail again."""
    TRUNCATED = auto()
    """A 2xx response began, and the connection was closed before its end."""
    UNREADABLE = auto()
    """A 2xx response that is refused, since it is compressed or too large."""


NOT_RUN = {FailureKind.UNSENT, FailureKind.REFUSED, FailureKind.RATE_LIMITED}
"""The failures after which the server certainly did not run the request."""
ENDED = {
    FailureKind.REDIRECTED,
    FailureKind.OVERLOADED,
    FailureKind.FAILED,
    FailureKind.TRUNCATED,
    FailureKind.UNREADABLE,
}
"""The failures after which the server is no longer working on the request, whether it made a change or not."""

_RETRYABLE_READ_FAILURES = {
    FailureKind.UNSENT,
    FailureKind.RATE_LIMITED,
    FailureKind.DROPPED,
    FailureKind.GATEWAY,
    FailureKind.OVERLOADED,
    FailureKind.TRUNCATED,
}
_RETRYABLE_CHANGE_FAILURES = {FailureKind.UNSENT, FailureKind.RATE_LIMITED}
_MAX_RETRIES = 2


@dataclass(frozen=True)
class AttemptFailure:
    """A failed attempt. `error` is for the caller; `retry_after` is the delay that the server asked for, in seconds."""

    kind: FailureKind
    error: SessionsError
    cause: Exception | None = None
    retry_after: float | None = None


def may_retry_read(failure: AttemptFailure, retries: int) -> bool:
    """Return whether a read that failed after this many retries may be sent again."""
    return retries < _MAX_RETRIES and failure.kind in _RETRYABLE_READ_FAILURES


def may_retry_change(failure: AttemptFailure, retries: int, *, after_drop: bool) -> bool:
    """Return whether a change that failed after this many retries may be sent again.

    `after_drop`: also after a dropped connection, which is usually an idle one that the server had closed.
    """
    if failure.kind is FailureKind.DROPPED:
        return after_drop
    return retries < _MAX_RETRIES and failure.kind in _RETRYABLE_CHANGE_FAILURES


def retry_delay(retries: int, retry_after: float | None) -> float:
    """Return how many seconds to wait: exponential backoff with full jitter, added to the server's `retry_after`."""
    return (retry_after or 0) + random.random() * min(2, 0.1 * 2**retries)


def parse_retry_after(header: str, now: datetime) -> float | None:
    """Return the seconds in a `Retry-After` header (RFC 9110 10.2.3: seconds or a date), at most a day.

    Return None for a malformed header.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _DAY)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max((date - now).total_seconds(), 0), _DAY)


class RetryBudget:
    """A token bucket that limits retries.

    Each request adds 0.09 of a retry, every 30 seconds add one, and the bucket holds at most 5. Without the limit,
    retries would triple the load on a server that is already in trouble. `clock` returns seconds and never goes back.
    """

    _CAPACITY = 5.0
    _PER_REQUEST = 0.09
    _PER_SECOND = 1 / 30

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._tokens = self._CAPACITY
        self._refilled_at = clock()

    def earn(self) -> None:
        """Add what one request earns."""
        self._add(self._PER_REQUEST)

    def spend(self) -> bool:
        """Take one retry from the budget. Return whether one was available."""
        now = self._clock()
        self._add((now - self._refilled_at) * self._PER_SECOND)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._CAPACITY, self._tokens + tokens)


def connection_error_reason(error: BaseException) -> str:
    """Return why no connection was made. The original message isn't used, since it may contain an address."""
    known = {
        ssl.SSLError: "its certificate or encryption was not accepted",
        socket.gaierror: "its host name can't be resolved",
        ConnectionRefusedError: "nothing listens on that port",
    }
    cause: BaseException | None = error
    while cause is not None:
        for kind, reason in known.items():
            if isinstance(cause, kind):
                return reason
        cause = cause.__cause__ or cause.__context__
    return "no connection could be made"
