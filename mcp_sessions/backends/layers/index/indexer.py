"""The interface between the index and the two kinds of systems: those with files, and all others."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from ....models import Message
from ...database.times import now_micros
from ...transcript_feed import ShownText
from .tables import Place

Progress = Callable[[int, int], Awaitable[None]]
"""A callback that receives how many sessions are indexed, and how many there are."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """How complete the index is.

    `pending`: the number of sessions not read yet. `is_listed`: the list of sessions was read to its end. `unreadable`:
    the number of files and folders that could not be looked at.
    """

    pending: int = 0
    is_listed: bool = True
    unreadable: int = 0

    @property
    def note(self) -> str:
        """Return a sentence about what is missing, "" if nothing is."""
        notes: list[str] = []
        if self.unreadable:
            notes.append(f"{self.unreadable} files or folders could not be read, so they were not searched.")
        if not self.is_listed and not self.pending:
            notes.append(
                "The system did not list all sessions in time, so new messages may be missing. Repeat the call."
            )
        if self.pending:
            is_one = self.pending == 1 and self.is_listed
            count = "1 session is" if is_one else f"{self.pending}{'' if self.is_listed else ' or more'} sessions are"
            notes.append(f"{count} not indexed yet, so not everything was searched. Repeat the call to index more.")
        return " ".join(notes)


class FoundText(NamedTuple):
    """A text as it stands in the system now. `role` is "" for names."""

    session_name: str
    role: str
    created_at: datetime | None
    text: str


class Indexer(Protocol):
    """Indexes the sessions of one backend during one call, and reads hits in them."""

    async def update(self, stops_at: float) -> IndexStatus:
        """Index what changed until a time on the event loop's clock. Return what is missing after that."""
        ...

    async def read(self, places: Sequence[Place]) -> Sequence[FoundText | None]:
        """Return the texts at these places, None for those that are gone. Remove what is gone from the index."""
        ...


def found_message(session_name: str, message: Message | ShownText) -> FoundText:
    return FoundText(session_name, message.role, message.created_at, message.text)


def micros(moment: datetime | None) -> int:
    """Return a time in microseconds since 1970, but not later than now; 0 for None."""
    return min(round(moment.timestamp() * 1e6), now_micros()) if moment else 0
