"""Search where a system has none: sessions are read one after the other, newest first, within a budget.

A cursor names the session where the next call begins, after how many of its hits were shown.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import anyio

from .. import cursor as cursors
from ..caller import Caller
from ..errors import BadResponse, NotFound, Unavailable
from ..models import Message, SearchHit, SearchPage
from ._parallel import each
from ._words import bare, finds, snippet

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


class Search:
    """One call: what it looks for, for whom, and what it has spent. `seconds` is how long it may go on."""

    def __init__(self, caller: Caller, words: Sequence[str], walk: str, *, seconds: float) -> None:
        self._caller = caller
        self._words = words
        self._heads = [bare(word.rstrip("*")) for word in words]
        self._walk = walk
        self._stops_at = anyio.current_time() + seconds
        self._bytes = 0
        self._sessions = 0
        self._unread = 0

    async def page(self, next: Next, read: Read, *, limit: int, cursor: str, shown: Position) -> SearchPage:
        """`shown` is what the cursor stands for: a number of hits, then the position of their session."""
        hits: list[SearchHit] = []
        behind = cursor
        while not self._is_spent():
            subjects, came_to = await next(_AT_ONCE)
            if came_to is None:
                return self._page(hits, "", is_whole=True)

            async def look_through(subject: Subject) -> tuple[Subject, list[SearchHit]]:
                return subject, await self._hits(subject, read)

            for subject, found in await each(look_through, subjects):
                known = shown[0] if shown[1:3] == subject.position[:2] else 0
                hits += [
                    hit.model_copy(update={"cursor": cursors.mark(self._walk, number, *subject.position)})
                    for number, hit in enumerate(found, 1)
                    if number > known
                ]
                if len(hits) > limit:
                    return self._page(hits[:limit], hits[limit - 1].cursor, is_whole=True)
                behind = cursors.mark(self._walk, len(found), *subject.position)
            await self._caller.progress(self._sessions, f"{self._sessions} sessions searched")
        return self._page(hits, behind, is_whole=False)

    def _is_spent(self) -> bool:
        is_late = anyio.current_time() > self._stops_at
        return is_late or self._sessions >= _MOST_SESSIONS or self._bytes > _MOST_BYTES

    async def _hits(self, subject: Subject, read: Read) -> list[SearchHit]:
        """The hits of a session: its name, its summary, its messages from the newest on."""
        try:
            transcript = await read(subject)
        except NotFound:
            return []  # removed meanwhile
        except (Unavailable, BadResponse):
            self._unread += 1
            return []
        self._bytes += transcript.size
        self._sessions += 1
        return [*self._about(subject), *self._said(subject, transcript.messages)]

    def _about(self, subject: Subject) -> Iterator[SearchHit]:
        for text, is_name in ((subject.name, True), (subject.summary, False)):
            if seen := self._found_in(text):
                yield SearchHit(
                    session_id=subject.id,
                    session_name=subject.name,
                    snippet="" if is_name else snippet(seen, self._words),
                    created_at=subject.created_at,
                )

    def _said(self, subject: Subject, messages: Sequence[Message]) -> Iterator[SearchHit]:
        for message in reversed(messages):
            if message.role != "system" and (seen := self._found_in(message.text)):
                yield SearchHit(
                    session_id=subject.id,
                    session_name=subject.name,
                    message_id=message.id,
                    role=message.role,
                    snippet=snippet(seen, self._words),
                    created_at=message.created_at,
                )

    def _found_in(self, text: str) -> str:
        """The text as the caller sees it, if that has every word; a quick look at most texts is enough."""
        if not text:
            return ""
        compared = bare(text)
        if not all(head in compared for head in self._heads):
            return ""
        seen = self._caller.present(text)
        return seen if finds(seen, self._words) else ""

    def _page(self, hits: Sequence[SearchHit], next_cursor: str, *, is_whole: bool) -> SearchPage:
        notes = [f"{self._unread} sessions could not be read."] if self._unread else []
        if not is_whole:
            notes.append("The search stopped here; next_cursor goes on with older sessions.")
        return SearchPage(
            hits=tuple(hits),
            next_cursor=next_cursor,
            searched_sessions=self._sessions,
            complete=is_whole and not self._unread,
            note=" ".join(notes),
        )
