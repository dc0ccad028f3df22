"""Search: AgentOS has none, so sessions are read one after the other, newest first, within a budget."""

from collections.abc import Iterator, Sequence

import anyio

from ... import cursor as cursors
from ...caller import Caller
from ...errors import BadResponse, NotFound, Unavailable
from ...models import Message, SearchHit, SearchPage, SessionFilter
from .._parallel import each
from .._words import bare, finds, snippet
from .api import Api
from .listing import Place, Walk, open_walk
from .transcript import read_transcript
from .wire import Stored

_AT_ONCE = 8
_MOST_SESSIONS = 400
_MOST_BYTES = 128 * 1024 * 1024


class Search:
    """One call: what it looks for, for whom, and what it has spent.

    A cursor names the session where the next call begins, and how many of its hits were shown.
    """

    def __init__(self, api: Api, caller: Caller, words: Sequence[str], *, seconds: float) -> None:
        self._api = api
        self._caller = caller
        self._words = words
        self._heads = [bare(word.rstrip("*")) for word in words]
        self._walk = cursors.walk("search", caller.user_id, words)
        self._stops_at = anyio.current_time() + seconds
        self._bytes = 0
        self._sessions = 0
        self._unread = 0

    async def page(self, limit: int, cursor: str) -> SearchPage:
        source, shown = await open_walk(
            self._api, self._caller.user_id, SessionFilter(), cursor, self._walk, extra=1, begins_with_it=True
        )
        known = shown[0] if shown else 0
        hits: list[SearchHit] = []
        behind = cursor
        while not self._is_spent():
            rows = await source.next(_AT_ONCE, lambda stored: True)
            if not rows:
                return self._page(source, hits, "", is_whole=True)
            for place, found in await each(self._look_through, rows):
                skipped = known if place.key == source.begins_at else 0
                hits += [
                    hit.model_copy(update={"cursor": cursors.mark(self._walk, number, *place.position)})
                    for number, hit in enumerate(found, 1)
                    if number > skipped
                ]
                if len(hits) > limit:
                    return self._page(source, hits[:limit], hits[limit - 1].cursor, is_whole=True)
                behind = cursors.mark(self._walk, len(found), *place.position)
            await self._caller.progress(self._sessions, f"{self._sessions} sessions searched")
        return self._page(source, hits, behind, is_whole=False)

    def _is_spent(self) -> bool:
        is_late = anyio.current_time() > self._stops_at
        return is_late or self._sessions >= _MOST_SESSIONS or self._bytes > _MOST_BYTES

    async def _look_through(self, row: tuple[Place, bool]) -> tuple[Place, list[SearchHit]]:
        """The hits of a session: its name, its summary, its messages from the newest on."""
        place, is_readable = row
        stored = place.stored
        if not is_readable:
            return place, []
        try:
            reply = await self._api.runs(stored.id, self._caller.user_id, stored.type)
            self._bytes += len(reply.body)
            messages = read_transcript(reply.json()).messages
        except NotFound:
            return place, []  # removed meanwhile
        except (Unavailable, BadResponse):
            self._unread += 1
            return place, []
        self._sessions += 1
        return place, [*self._about(stored), *self._said(stored, messages)]

    def _said(self, stored: Stored, messages: Sequence[Message]) -> Iterator[SearchHit]:
        for message in reversed(messages):
            if message.role != "system" and (seen := self._found_in(message.text)):
                yield SearchHit(
                    session_id=stored.id,
                    session_name=stored.name,
                    message_id=message.id,
                    role=message.role,
                    snippet=snippet(seen, self._words),
                    created_at=message.created_at,
                )

    def _about(self, stored: Stored) -> Iterator[SearchHit]:
        for text, is_name in ((stored.name, True), (stored.summary, False)):
            if seen := self._found_in(text):
                yield SearchHit(
                    session_id=stored.id,
                    session_name=stored.name,
                    snippet="" if is_name else snippet(seen, self._words),
                    created_at=stored.created_at,
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

    def _page(self, source: Walk, hits: Sequence[SearchHit], next_cursor: str, *, is_whole: bool) -> SearchPage:
        unread = self._unread + len(source.findings.unreadable)
        notes = [f"{unread} sessions could not be read."] if unread else []
        if not is_whole:
            notes.append("The search stopped here; next_cursor goes on with older sessions.")
        return SearchPage(
            hits=tuple(hits),
            next_cursor=next_cursor,
            searched_sessions=self._sessions,
            complete=is_whole and not unread,
            note=" ".join(notes),
        )
