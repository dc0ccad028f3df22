"""Search where a system has none: sessions are read one after the other, newest first, within a budget.

A cursor names the session where the next call begins, and how many of its hits were not shown yet. Those are counted
from the oldest, so that what is said meanwhile moves none of them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import anyio

from .. import cursors
from ..caller import Caller
from ..errors import BadResponse, NotFound, Unavailable, Unsupported
from ..models import Message, SearchHit, SearchPage
from ..text.words import bare, finds, snippet
from .gather import each

_AT_ONCE = 8
_MOST_SESSIONS = 400
_MOST_BYTES = 128 * 1024 * 1024

Position = tuple[int, ...]
"""Where a session stands in the walk, as the whole numbers of a cursor: its time and its digest, then hints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A session to be looked through."""

    id: str
    name: str
    summary: str = ""
    created_at: datetime | None = None
    position: Position


class Transcript(NamedTuple):
    messages: Sequence[Message]
    size: int
    """Bytes that reading it took."""


Next = Callable[[int], Awaitable[tuple[list[Subject], Position | None]]]
"""At most so many sessions further on, and where the last of them stands, also of those left out; None at the end."""
Read = Callable[[Subject], Awaitable[Transcript]]
Find = Callable[[int], Awaitable[Subject | None]]
"""The session of this digest, wherever it stands by now."""
_Hit = tuple[Message | None, str]
"""A message, or none for the session itself, and the text that was found as the caller sees it."""


class Search:
    """One call: what it looks for, for whom, and what it has spent. `seconds` is how long it may go on."""

    def __init__(self, caller: Caller, words: Sequence[str], walk: str, *, seconds: float) -> None:
        self._left: dict[int, int] = {}
        self._hits: list[SearchHit] = []
        self._caller = caller
        self._words = words
        self._heads = [bare(word.rstrip("*")) for word in words]
        self._walk = walk
        self._stops_at = anyio.current_time() + seconds
        self._bytes = 0
        self._sessions = 0
        self._unread = 0

    async def page(self, next: Next, read: Read, find: Find, *, limit: int, cursor: str, shown: Position) -> SearchPage:
        """`shown` is what the cursor stands for: a number of hits that are left, then the position of their session."""
        left, *stood = shown or (0,)
        self._left = {stood[1]: left} if stood else {}
        behind = cursor
        if left and (moved := await find(stood[1])) and moved.position[:2] != tuple(stood[:2]):
            # It was changed since: what was left of it comes first, at the place where it stood.
            moved = replace(moved, position=shown[1:])
            if self._add(moved, await self._look_through(moved, read), limit):
                return self._page(limit)
            behind = cursors.mark(self._walk, 0, *shown[1:])
        while not self._is_spent():
            subjects, came_to = await next(_AT_ONCE)
            if came_to is None:
                return self._page(limit)

            async def look_through(subject: Subject) -> tuple[Subject, list[_Hit]]:
                return subject, await self._look_through(subject, read)

            for subject, found in await each(look_through, subjects):
                if self._add(subject, found, limit):
                    return self._page(limit)
            behind = cursors.mark(self._walk, 0, *came_to)
            await self._caller.progress(self._sessions, f"{self._sessions} sessions searched")
        return self._page(limit, behind)

    def _add(self, subject: Subject, found: Sequence[_Hit], limit: int) -> bool:
        """Whether there are more than are asked for."""
        left = min(self._left.pop(subject.position[1], len(found)), len(found))
        for number in range(len(found) - left, len(found)):
            if len(self._hits) > limit:
                return True
            message, seen = found[number]
            self._hits.append(
                SearchHit(
                    session_id=subject.id,
                    session_name=subject.name,
                    message_id=message.id if message else "",
                    role=message.role if message else "",
                    snippet="" if message is None and seen == subject.name else snippet(seen, self._words),
                    created_at=message.created_at if message else subject.created_at,
                    cursor=cursors.mark(self._walk, len(found) - number - 1, *subject.position),
                )
            )
        return len(self._hits) > limit

    def _is_spent(self) -> bool:
        is_late = anyio.current_time() > self._stops_at
        return is_late or self._sessions >= _MOST_SESSIONS or self._bytes > _MOST_BYTES

    async def _look_through(self, subject: Subject, read: Read) -> list[_Hit]:
        """The hits of a session: its name, its summary, its messages from the newest on."""
        try:
            transcript = await read(subject)
        except NotFound:
            return []  # removed meanwhile
        except (Unavailable, BadResponse, Unsupported):
            self._unread += 1
            return []
        self._bytes += transcript.size
        self._sessions += 1
        texts: list[tuple[Message | None, str]] = [(None, subject.name), (None, subject.summary)]
        texts += [(message, message.text) for message in reversed(transcript.messages) if message.role != "system"]
        return [(message, seen) for message, text in texts if (seen := self._found_in(text))]

    def _found_in(self, text: str) -> str:
        """The text as the caller sees it, if that has every word; a quick look at most texts is enough."""
        if not text:
            return ""
        compared = bare(text)
        if not all(head in compared for head in self._heads):
            return ""
        seen = self._caller.present(text)
        return seen if finds(seen, self._words) else ""

    def _page(self, limit: int, behind: str | None = None) -> SearchPage:
        """`behind` is where a search that its budget ended goes on."""
        notes = [f"{self._unread} sessions could not be read."] if self._unread else []
        hits, is_full = self._hits[:limit], len(self._hits) > limit
        if behind is not None:
            notes.append("The search stopped here; next_cursor goes on with older sessions.")
        return SearchPage(
            hits=tuple(hits),
            next_cursor=hits[-1].cursor if is_full else behind or "",
            searched_sessions=self._sessions,
            complete=behind is None and not self._unread,
            note=" ".join(notes),
        )
