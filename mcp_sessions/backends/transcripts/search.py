"""Search over transcripts, newest first. A backend says how its sessions are ordered and read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import anyio

from ... import cursors
from ...caller import Caller
from ...errors import Timeout
from ...models import Message, SearchPage
from ...text.search_query import SearchQuery
from ..scan_search import Candidate, Position, ScanSearch, Transcript
from ..transcript_feed import MessageAtPosition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SearchableSession(Generic[T]):
    """A session that may contain hits, and what its backend needs to read it."""

    candidate: Candidate
    source: T


@dataclass(frozen=True, slots=True)
class TranscriptSearch(Generic[T]):
    """A search over transcripts.

    `newest_first` yields all sessions in `project`. Their positions have the time of the last update and a digest of
    the id. `read` returns a session's matching messages; see `matching`. Both are called in threads.
    """

    newest_first: Callable[[], Iterator[SearchableSession[T]]]
    read: Callable[[T, SearchQuery], Transcript]
    project: str = ""

    async def page(self, caller: Caller, query: SearchQuery, limit: int, cursor: str, *, seconds: float) -> SearchPage:
        """Search for `seconds`."""
        walk = cursors.walk("search", caller.user_id, query.key, self.project)
        position = cursors.read(cursor, walk, 3) if cursor else ()
        rows = (row for row in self.newest_first() if not position or _is_after(row.candidate.position, position))
        sources: dict[str, T] = {}

        def with_source(row: SearchableSession[T]) -> Candidate:
            sources[row.candidate.id] = row.source
            return row.candidate

        async def next_candidates(count: int) -> tuple[list[Candidate], Position | None]:
            taken = await anyio.to_thread.run_sync(lambda: list(islice(rows, count)))
            found = [with_source(row) for row in taken]
            return found, found[-1].position if found else None

        async def find(digest: int) -> Candidate | None:
            def search() -> SearchableSession[T] | None:
                return next((row for row in self.newest_first() if row.candidate.position[1] == digest), None)

            row = await anyio.to_thread.run_sync(search)
            return with_source(row) if row else None

        async def read(found: Candidate) -> Transcript:
            return await anyio.to_thread.run_sync(self.read, sources[found.id], query)

        search = ScanSearch(caller, query, walk, seconds=seconds)
        return await search.page(next_candidates, read, find, limit=limit, cursor=cursor, resume_at=position)


class Matches(NamedTuple):
    """The messages of a transcript that may match a query, oldest first, and whether all of it was read."""

    messages: Sequence[Message]
    is_complete: bool


def matching(texts: Iterator[MessageAtPosition], query: SearchQuery) -> Iterator[Message]:
    """Yield the messages that may match a query, of which a long transcript has few."""
    return (Message(**text.message._asdict()) for text in texts if query.may_match(text.message.text))


def matches(texts: Iterator[MessageAtPosition], query: SearchQuery) -> Matches:
    """Return the messages that may match a query.

    `texts` come newest first. If reading them takes too long, those that were read count.
    """
    found: list[Message] = []
    try:
        found.extend(matching(texts, query))
    except Timeout:
        return Matches(found[::-1], is_complete=False)
    return Matches(found[::-1], is_complete=True)


def _is_after(place: Position, position: Position) -> bool:
    """Return whether a session is at a cursor's position or after it."""
    return (-place[0], place[1]) >= (-position[1], position[2])
