"""Search for systems that have none: read the sessions, newest first, until a budget is spent.

A cursor contains the position of a session and how many of its hits were not returned yet. These hits are counted
from the oldest message, so that new messages don't shift them.
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
from ..text.search_query import SearchQuery
from .gather import map_concurrently

_AT_ONCE = 8
_MAX_SESSIONS = 400
_MAX_BYTES = 128 * 1024 * 1024

Position = tuple[int, ...]
"""A session's position in the search, as the numbers of a cursor: time and digest, then any the backend adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A session that may contain hits, and its position in the search."""

    id: str
    name: str
    summary: str = ""
    created_at: datetime | None = None
    position: Position


class Transcript(NamedTuple):
    """The messages of a session, oldest first."""

    messages: Sequence[Message]
    size: int
    """The size of the system's response in bytes."""


NextCandidates = Callable[[int], Awaitable[tuple[list[Candidate], Position | None]]]
"""Returns up to so many further sessions, and the position of the last one read (even if left out); None at the end."""
ReadTranscript = Callable[[Candidate], Awaitable[Transcript]]
FindCandidate = Callable[[int], Awaitable[Candidate | None]]
"""Returns the session with this digest and its current position."""
_Match = tuple[Message | None, str]
"""A message (None for the session's name or summary), and its text as the caller sees it."""


class ScanSearch:
    """One search call: its query, its caller and the budget that it has spent. `seconds` limits its duration."""

    def __init__(self, caller: Caller, query: SearchQuery, walk: str, *, seconds: float) -> None:
        self._unreturned: dict[int, int] = {}  # digest of a session → number of its hits that were not returned yet
        self._hits: list[SearchHit] = []
        self._caller = caller
        self._query = query
        self._walk = walk
        self._stops_at = anyio.current_time() + seconds
        self._bytes = 0
        self._sessions = 0
        self._unread = 0

    async def page(
        self,
        next: NextCandidates,
        read: ReadTranscript,
        find: FindCandidate,
        *,
        limit: int,
        cursor: str,
        resume_at: Position,
    ) -> SearchPage:
        """Return a page of hits.

        `resume_at` is the decoded `cursor`: how many hits of a session were not returned yet, then its position.
        """
        unreturned, *position = resume_at or (0,)
        self._unreturned = {position[1]: unreturned} if position else {}
        if unreturned and (moved := await find(position[1])) and moved.position[:2] != tuple(position[:2]):
            # The session was changed since, so `next` won't return it: search it first, at its former position.
            moved = replace(moved, position=resume_at[1:])
            if self._add(moved, await self._search(moved, read), limit):
                return self._page(limit)
            cursor = cursors.mark(self._walk, 0, *resume_at[1:])
        while not self._is_spent():
            candidates, last = await next(_AT_ONCE)
            if last is None:
                return self._page(limit)

            async def search(candidate: Candidate) -> tuple[Candidate, list[_Match]]:
                return candidate, await self._search(candidate, read)

            for candidate, matches in await map_concurrently(search, candidates):
                if self._add(candidate, matches, limit):
                    return self._page(limit)
            cursor = cursors.mark(self._walk, 0, *last)
            await self._caller.progress(self._sessions, f"{self._sessions} sessions searched")
        return self._page(limit, cursor)

    def _add(self, candidate: Candidate, matches: Sequence[_Match], limit: int) -> bool:
        """Add a session's matches to the hits. Return whether there are more than `limit` hits now."""
        unreturned = min(self._unreturned.pop(candidate.position[1], len(matches)), len(matches))
        for number in range(len(matches) - unreturned, len(matches)):
            if len(self._hits) > limit:
                return True
            message, seen = matches[number]
            self._hits.append(
                SearchHit(
                    session_id=candidate.id,
                    session_name=candidate.name,
                    message_id=message.id if message else "",
                    role=message.role if message else "",
                    snippet="" if message is None and seen == candidate.name else self._query.snippet(seen),
                    created_at=message.created_at if message else candidate.created_at,
                    cursor=cursors.mark(self._walk, len(matches) - number - 1, *candidate.position),
                )
            )
        return len(self._hits) > limit

    def _is_spent(self) -> bool:
        is_late = anyio.current_time() > self._stops_at
        return is_late or self._sessions >= _MAX_SESSIONS or self._bytes > _MAX_BYTES

    async def _search(self, candidate: Candidate, read: ReadTranscript) -> list[_Match]:
        """Return the matches in a session's name, summary and messages, newest message first."""
        try:
            transcript = await read(candidate)
        except NotFound:
            return []  # deleted meanwhile
        except (Unavailable, BadResponse, Unsupported):
            self._unread += 1
            return []
        self._bytes += transcript.size
        self._sessions += 1
        texts: list[tuple[Message | None, str]] = [(None, candidate.name), (None, candidate.summary)]
        texts += [(message, message.text) for message in reversed(transcript.messages) if message.role != "system"]
        return [(message, seen) for message, text in texts if (seen := self._match(text))]

    def _match(self, text: str) -> str:
        """Return the text as the caller sees it if it matches the query, else ""."""
        if not text or not self._query.may_match(text):
            return ""
        seen = self._caller.sanitize(text)
        return seen if self._query.matches(seen) else ""

    def _page(self, limit: int, resume_cursor: str | None = None) -> SearchPage:
        """Return the page. `resume_cursor` is given if the budget ended the search."""
        notes = [f"{self._unread} sessions could not be read."] if self._unread else []
        hits, is_full = self._hits[:limit], len(self._hits) > limit
        if resume_cursor is not None:
            notes.append("The search stopped at its limit. Continue with next_cursor to search older sessions.")
        return SearchPage(
            hits=tuple(hits),
            next_cursor=hits[-1].cursor if is_full else resume_cursor or "",
            searched_sessions=self._sessions,
            complete=resume_cursor is None and not self._unread,
            note=" ".join(notes),
        )
