"""Ids of sessions where there are several backends: `NAME/ID`, and for the backend without a name its own id.

An id of the backend without a name that begins like another backend's, such as `work/5`, gets a slash in front, so that
every id means one session.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ....errors import SessionsError, quoted

SEPARATOR = "/"


class Address(NamedTuple):
    """The name of a session's backend, and the session's id there."""

    name: str
    own_id: str


class Ids:
    """Converts between the ids that callers see and those of the backends with these names, "" for none."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(filter(None, names))

    def address(self, session_id: str) -> Address:
        """Return the session's backend and its id there. The name is "" if the id doesn't begin with a known one."""
        name, separator, own_id = session_id.partition(SEPARATOR)
        if separator and name in self._names:
            return Address(name, own_id)
        if not name and self._looks_named(own_id):
            return Address("", own_id)
        return Address("", session_id)

    def full_id(self, name: str, own_id: str) -> str:
        """Return the id that callers see."""
        if name:
            return f"{name}{SEPARATOR}{own_id}"
        return SEPARATOR + own_id if self._looks_named(own_id) else own_id

    def names_note(self) -> str:
        """Return what to add to the error that there is no session with an id that has no name."""
        return f"Ids of other backends begin with {', '.join(name + SEPARATOR for name in sorted(self._names))}."

    def _looks_named(self, own_id: str) -> bool:
        """Return whether the id is `NAME/…` with a known name, after any number of slashes."""
        name, separator, _ = own_id.lstrip(SEPARATOR).partition(SEPARATOR)
        return bool(separator) and name in self._names


def replace_id(text: str, own_id: str, full_id: str) -> str:
    """Return a note or an error of a backend with its own id of a session replaced by the one that callers see."""
    return text.replace(quoted(own_id), quoted(full_id)) if own_id else text


def with_message(error: SessionsError, message: str) -> SessionsError:
    """Return an error of the same code with another message."""
    kind = next(kind for kind in type(error).__mro__ if "code" in vars(kind))
    return kind(message)


def copy_error(error: SessionsError) -> SessionsError:
    """Return a new error with the same code and message.

    Several calls may raise a member's error, and raising the same object each time would mix their tracebacks.
    """
    return with_message(error, error.message)
