"""Session ids with several backends: `NAME/ID`, or just `ID` for the backend without a name.

If an own id of the backend without a name looks like another backend's, such as `work/5`, callers see it with a slash
in front, `/work/5`, so that each id means one session. The ids that callers see are full ids; a backend's are own ids.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ....errors import SessionsError, quoted

SEPARATOR = "/"


class SessionAddress(NamedTuple):
    """The name of a session's backend, and the session's id there."""

    name: str
    own_id: str


class IdConverter:
    """Converts between full ids, which callers see, and the own ids of the backends with these names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(filter(None, names))

    def address(self, session_id: str) -> SessionAddress:
        """Return the backend's name and own id for a full id. The name is "" unless the id begins with a known one."""
        name, separator, own_id = session_id.partition(SEPARATOR)
        if separator and name in self._names:
            return SessionAddress(name, own_id)
        if not name and self._begins_with_name(own_id):
            return SessionAddress("", own_id)
        return SessionAddress("", session_id)

    def full_id(self, name: str, own_id: str) -> str:
        """Return the full id of a backend's session."""
        if name:
            return f"{name}{SEPARATOR}{own_id}"
        return SEPARATOR + own_id if self._begins_with_name(own_id) else own_id

    def names_note(self) -> str:
        """Return a sentence for the error about an unknown id, in case the caller left out the backend's name."""
        return (
            f"Session ids of named backends begin with {', '.join(name + SEPARATOR for name in sorted(self._names))}."
        )

    def _begins_with_name(self, own_id: str) -> bool:
        """Return whether the id is `NAME/…` with a known name, perhaps after slashes."""
        name, separator, _ = own_id.lstrip(SEPARATOR).partition(SEPARATOR)
        return bool(separator) and name in self._names


def replace_id(text: str, own_id: str, full_id: str) -> str:
    """Return a backend's note or error with the full id in place of the quoted own id."""
    return text.replace(quoted(own_id), quoted(full_id)) if own_id else text


def with_message(error: SessionsError, message: str) -> SessionsError:
    """Return an error with the same code and another message."""
    # Not `type(error)`: a backend's own subclass may have other arguments.
    kind = next(kind for kind in type(error).__mro__ if "code" in vars(kind))
    return kind(message)


def copy_error(error: SessionsError) -> SessionsError:
    """Return a new error with the same code and message.

    Several calls may raise the same member's error. Raising one object several times would mix their tracebacks.
    """
    return with_message(error, error.message)
