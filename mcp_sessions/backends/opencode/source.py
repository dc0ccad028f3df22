"""What the reading operations need of a place that has opencode's sessions: its REST API or its database."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...errors import NotFound, quoted
from ...json_documents import JsonObject
from .wire import OpencodeSession


class SessionRows(NamedTuple):
    """A page of the list of sessions. `is_last`: there are no older ones."""

    sessions: Sequence[OpencodeSession]
    is_last: bool


class MessageRows(NamedTuple):
    """The newest messages of a session, oldest first, in the form of the API's answers.

    `is_complete`: they are all messages. `size`: bytes read.
    """

    rows: Sequence[JsonObject]
    is_complete: bool
    size: int


class OpencodeSource(Protocol):
    """A place that has opencode's sessions. Every error is a `SessionsError`."""

    async def sessions(self, *, before: int | None, limit: int) -> SessionRows:
        """Return at most `limit` sessions of all projects, active and archived, in the order of their last update.

        Only sessions that no other session started, updated before `before` (milliseconds).
        """
        ...

    async def session(self, session_id: str) -> OpencodeSession:
        """Return a session. Raise `NotFound`."""
        ...

    async def count_children(self, session_id: str) -> int:
        """Return how many sessions a session started, directly or through others: opencode deletes them with it."""
        ...

    async def messages(self, session_id: str) -> MessageRows:
        """Return the messages of a session: all, or as many of the newest as can be read. Raise `NotFound`."""
        ...


def absent_session(session_id: str) -> NotFound:
    """Return the error for a session that does not exist."""
    return NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")
