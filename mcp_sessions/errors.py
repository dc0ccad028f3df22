"""The errors that callers see, and functions that make text safe for one line of an error or a log.

Callers see `str(error)`, so it may contain nothing that a caller must not see.

SessionsError
├── Invalid               a bad argument, cursor, id or value
├── NotFound              no such session, message or run, or it belongs to somebody else
├── Conflict              changed since `expected_version`, or the name or id is taken
├── Unsupported           this backend can't do it, or can't address this id
├── Unauthorized          no credential, or one that was refused
├── Forbidden             the credential lacks a scope
├── ConfirmationRequired  a destructive call that nobody has confirmed yet
├── RateLimited           too many calls in a given time for this server or the backend
├── Timeout               no response in time
├── Unavailable           no response at all
├── Busy                  too many concurrent calls on this server
├── OutcomeUnknown        a change was sent, and it can't be determined whether it was made
├── Internal              an unexpected failure of this server
└── BadResponse           the backend's response doesn't have the documented format
"""

import traceback
from typing import ClassVar


class SessionsError(Exception):
    """An expected failure. `str(error)` is one line: what happened, then what to do next."""

    code: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def text(self) -> str:
        """The text that a caller receives: `CODE: what happened. What to do next.`"""
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


def traceback_without_message(error: BaseException) -> str:
    """Return the type and the stack of an error for the log.

    The message is left out, since it may quote stored text or a credential.
    """
    return f"{type(error).__qualname__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def replace_unprintable(text: str) -> str:
    """Return the text with � for each unprintable character, such as a line break or a terminal's control codes."""
    return "".join(char if char.isprintable() else "�" for char in text)


def excerpt(value: str) -> str:
    """Return the first 80 characters of a value from outside, without unprintable ones, to use in a sentence."""
    start = replace_unprintable(value[:80])
    return f"{start}…" if len(value) > 80 else start


def quoted(value: str) -> str:
    """Return the `excerpt` of a value in double quotes; double quotes in it become single ones."""
    return f'"{excerpt(value).replace(chr(34), chr(39))}"'
