"""Every failure that a caller may be told of; what is said in one is safe to show by definition.

SessionsError
├── Invalid               a bad argument, cursor, id or value
├── NotFound              no such session, message or run, or not this caller's
├── Conflict              changed since `expected_version`, or the name or id is taken
├── Unsupported           this backend can't do it, or can't address this id
├── Unauthorized          no credential, or one that is refused
├── Forbidden             the credential lacks the right
├── ConfirmationRequired  a destructive call that nobody has agreed to yet
├── RateLimited           too many calls for now, here or says the backend
├── Timeout               no answer in time
├── Unavailable           no answer at all
├── Busy                  too many calls at once here
├── OutcomeUnknown        a change was sent, and nothing could settle whether it ran
├── Internal              something unforeseen on our side
└── BadResponse           the backend answered something that is not its own format
"""

import traceback
from typing import ClassVar


class SessionsError(Exception):
    """A foreseen failure. `str(error)` is one line of our own words: what happened, then what to do next."""

    code: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def text(self) -> str:
        """`CODE: what happened. What to do next.`, as a caller is told it."""
        return f"{self.code}: {self.message}"


class Invalid(SessionsError):
    code = "invalid"


class NotFound(SessionsError):
    code = "not_found"


class Conflict(SessionsError):
    code = "conflict"


class Unsupported(SessionsError):
    code = "unsupported"


class Unauthorized(SessionsError):
    code = "unauthorized"


class Forbidden(SessionsError):
    code = "forbidden"


class ConfirmationRequired(SessionsError):
    code = "confirmation_required"


class RateLimited(SessionsError):
    code = "rate_limited"


class Timeout(SessionsError):
    code = "timeout"


class Unavailable(SessionsError):
    code = "unavailable"


class Busy(SessionsError):
    code = "busy"


class OutcomeUnknown(SessionsError):
    code = "outcome_unknown"


class Internal(SessionsError):
    code = "internal"


class BadResponse(SessionsError):
    code = "bad_response"


def whereabouts(error: BaseException) -> str:
    """Where an unforeseen failure happened and of which kind, for a log: its own words may hold what people said."""
    return f"{type(error).__qualname__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def visible(text: str) -> str:
    """It without line breaks and whatever else moves a terminal's cursor."""
    return "".join(char if char.isprintable() else "�" for char in text)


def printable(value: str) -> str:
    """A caller's own word, fit to be repeated in our sentences: at most 80 characters that can be seen."""
    shown = visible(value[:80])
    return f"{shown}…" if len(value) > 80 else shown


def quoted(value: str) -> str:
    """The same in quotes, which it can't end."""
    return f'"{printable(value).replace(chr(34), chr(39))}"'
