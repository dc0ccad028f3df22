"""The interface between the index and the two kinds of systems: those with files, and all others."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from ....models import Message
from ...database.times import now_micros
from .tables import Place

Progress = Callable[[int, int], Awaitable[None]]
"""Is told how many sessions of how many were indexed."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the index is: the number of sessions still to be read, and whether all of those are known."""

    pending: int = 0
    is_listed: bool = True

    @property
    def note(self) -> str:
        """Return a sentence about what is missing, "" if nothing is."""
        if not self.pending and self.is_listed:
            return ""
        count = f"{self.pending}{'' if self.is_listed else ' or more'} sessions"
        return f"{count} are not indexed yet, so they were not searched. Repeat the call to index more."


class FoundText(NamedTuple):
    """A text as it stands in the system now. `role` is "" for names and summaries."""

    session_name: str
    role: str
    created_at: datetime | None
    text: str


class Source(Protocol):
    """A system whose sessions are indexed, for the time of one call."""

    async def update(self, stops_at: float) -> Coverage:
        """Index what changed until a time on the event loop's clock. Return what is missing after that."""
        ...

    async def read(self, places: Sequence[Place]) -> Sequence[FoundText | None]:
        """Return the texts at these places, None for those that are gone. Remove what is gone from the index."""
        ...


def found_message(session_name: str, message: Message) -> FoundText:
    return FoundText(session_name, message.role, message.created_at, message.text)


def micros(moment: datetime | None) -> int:
    """Return a time in microseconds since 1970, now if it is later than that, and 0 if there is none."""
    return min(round(moment.timestamp() * 1e6), now_micros()) if moment else 0
