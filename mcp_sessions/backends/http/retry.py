"""What a failed request means for whoever sent it, whether it may be sent again, and when."""

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


class Kind(Enum):
    """How a request failed."""

    UNSENT = auto()
    """Nothing of it was sent."""
    REFUSED = auto()
    """The server wouldn't run it."""
    REDIRECTED = auto()
    """The server answered with a redirect (3xx), which is not followed. It may have run the request."""
    LIMITED = auto()
    """Refused, for now: too many calls (429)."""
    DROPPED = auto()
    """The connection ended before an answer began."""
    GATEWAY = auto()
    """Something in between gave up on the server (502, 504), which may still be at it."""
    OVERLOADED = auto()
    """The server can't, for now (503)."""
    FAILED = auto()
    """The server broke (500 and the like). What breaks it once breaks it always."""
    CUT = auto()
    """A good answer began, and never ended."""
    UNREADABLE = auto()
    """A good answer in a form that isn't taken."""


NOT_RUN = {Kind.UNSENT, Kind.REFUSED, Kind.LIMITED}
ENDED = {Kind.REDIRECTED, Kind.OVERLOADED, Kind.FAILED, Kind.CUT, Kind.UNREADABLE}
"""After these the server is done with the request, whatever became of it."""

_READ_AGAIN = {Kind.UNSENT, Kind.LIMITED, Kind.DROPPED, Kind.GATEWAY, Kind.OVERLOADED, Kind.CUT}
_CHANGE_AGAIN = {Kind.UNSENT, Kind.LIMITED}
_MOST_RETRIES = 2


@dataclass(frozen=True)
class Failure:
    """A try that failed: `error` is what a caller is told of it, `wait` the seconds the server asked for."""

    kind: Kind
    error: SessionsError
    cause: Exception | None = None
    wait: float | None = None


def may_read_again(failure: Failure, retries: int) -> bool:
    return retries < _MOST_RETRIES and failure.kind in _READ_AGAIN


def may_change_again(failure: Failure, retries: int, *, drops: bool) -> bool:
    """`drops`: whether a dropped connection (an idle one that the server had closed, mostly) is worth a retry."""
    if failure.kind is Kind.DROPPED:
        return drops
    return retries < _MOST_RETRIES and failure.kind in _CHANGE_AGAIN


def pause_before(retries: int, asked: float | None) -> float:
    """Seconds to wait: full jitter, on top of what the server asked for."""
    return (asked or 0) + random.random() * min(2, 0.1 * 2**retries)


def seconds_asked(retry_after: str, now: datetime) -> float | None:
    """What a `Retry-After` header (RFC 9110 10.2.3: seconds or a date) asks for, at most a day; None for garbage."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _DAY)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max((date - now).total_seconds(), 0), _DAY)


class RetryBudget:
    """Limits retries to a tenth of all requests, and one more every 30 seconds.

    Without the limit, retries would triple the load on a server that is already in trouble. `clock` returns seconds
    and never goes back.
    """

    _MOST = 5.0
    _PER_REQUEST = 0.09
    _PER_SECOND = 1 / 30

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._tokens = self._MOST
        self._refilled_at = clock()

    def earn(self) -> None:
        """Count a request."""
        self._add(self._PER_REQUEST)

    def spend(self) -> bool:
        """Return whether the budget allows one more retry, and take that retry from it."""
        now = self._clock()
        self._add((now - self._refilled_at) * self._PER_SECOND)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._MOST, self._tokens + tokens)


def why_unsent(error: BaseException) -> str:
    """Why there is no connection, in our words: what the system says may hold an address."""
    known = {
        ssl.SSLError: "its certificate or encryption was not accepted",
        socket.gaierror: "the host's name is not known",
        ConnectionRefusedError: "nothing listens at that port",
    }
    cause: BaseException | None = error
    while cause is not None:
        for kind, told in known.items():
            if isinstance(cause, kind):
                return told
        cause = cause.__cause__ or cause.__context__
    return "no connection could be made"
