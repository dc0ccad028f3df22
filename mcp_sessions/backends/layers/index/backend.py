"""`Indexed`, a layer that searches a backend's sessions by an index of its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from .... import cursors
from ....errors import NotFound, SessionsError, Unavailable
from ....models import BulkAction, BulkResult, Change, HistoryQuery, SearchHit, SearchPage, SessionDetail
from ....text.search_query import SearchQuery, parse_query
from ...base import Capability, SessionBackend
from ...database.database import DeadlineExceeded, Transaction
from ...deadline import remaining
from ...gather import map_concurrently
from ...health import Report
from ..wrapper import Wrapper
from . import tables
from .store import DamagedIndex, IndexStore, UnusableIndex
from .sync import Sync
from .tables import Place

_SHARE_OF_TIME = 0.4
"""The part of a call's time for updating the index, and also the part for reading the hits."""
_AT_ONCE = 16
_UPDATED_ELSEWHERE = (
    "Another call or process is updating the search index, so new messages may be missing. Repeat the call."
)


class Indexed(Wrapper):
    """A backend with a full-text index. `source` identifies its system, and stays the same when its name changes.

    Hits are read from the system and checked again, so the index never decides what a caller sees.
    """

    def __init__(self, inner: SessionBackend, store: IndexStore, *, source: str) -> None:
        super().__init__(inner)
        self.capabilities = inner.capabilities | {Capability.SEARCH_SESSIONS}
        self.has_search_index = True
        self._store = store
        self._source = source

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._store.__aexit__(exc_type, exc, traceback)
        await super().__aexit__(exc_type, exc, traceback)

    async def examine(self, report: Report) -> None:
        await super().examine(report)
        await self._store.examine(self._source, report)

    async def search_sessions(self, query: str, *, limit: int = 10, cursor: str = "") -> SearchPage:
        """Search names, summaries and messages: names and summaries first, each newest first."""
        parsed = parse_query(query)
        if self.caller.credential or self.caller.credentials:  # the index can't tell what this credential may see
            return await self.inner.search_sessions(query, limit=limit, cursor=cursor)
        walk = cursors.walk("index", self.caller.user_id, parsed.key)
        (below,) = cursors.read(cursor, walk, 1) if cursor else (tables.MAX_KEY,)
        try:
            note = await self._store.open()
        except Unavailable as error:
            return await self._search_without_index(query, limit, cursor, error)
        try:
            return await self._search(parsed, walk, below, limit, note)
        except UnusableIndex as error:
            return await self._search_without_index(query, limit, "", error)
        except DamagedIndex:
            return await self._search(parsed, walk, below, limit, await self._store.rebuild())

    async def _search_without_index(self, query: str, limit: int, cursor: str, error: Unavailable) -> SearchPage:
        """Search by the backend itself. Raise the error if it has no search."""
        if Capability.SEARCH_SESSIONS not in self.inner.capabilities:
            raise Unavailable(f"the search index can't be used: {error.message}") from error
        page = await self.inner.search_sessions(query, limit=limit, cursor=cursor)
        note = f"The search index can't be used, so the sessions themselves were read: {error.message}"
        return page.model_copy(update={"note": " ".join(filter(None, (note, page.note)))})

    async def _search(self, query: SearchQuery, walk: str, below: int, limit: int, note: str) -> SearchPage:
        missing = await self._update()
        owner = self.caller.user_id
        hits: list[SearchHit] = []
        sessions: dict[str, SessionDetail | None] = {}
        stops_at = anyio.current_time() + remaining(self.options.timeout) * _SHARE_OF_TIME
        notes = [note, missing]
        while below and len(hits) <= limit and anyio.current_time() < stops_at:
            try:
                places, below = await self._store.search(_finding(self._source, owner, query, below))
            except DeadlineExceeded:
                break
            hits += await self._hits(places, query, walk, sessions)
        else:
            stops_at = 0 if below == 0 or len(hits) > limit else stops_at
        unreadable = await self._store.scan(lambda tx: tables.unreadable(tx, self._source, owner))
        if unreadable:
            notes.append(f"{len(unreadable)} sessions could not be read, among them {', '.join(unreadable[:3])}.")
        is_full, is_late = len(hits) > limit, bool(stops_at)
        if is_late:
            notes.append("The search took too long and stopped here. Continue with next_cursor.")
        next_cursor = hits[limit - 1].cursor if is_full else cursors.mark(walk, below) if is_late else ""
        return SearchPage(
            hits=tuple(hits[:limit]),
            next_cursor=next_cursor,
            complete=not is_late and not missing,
            note=" ".join(filter(None, notes)),
        )

    async def _update(self) -> str:
        """Index what changed, unless another call or process is doing that. Return a note on what is missing."""
        with self._store.sync_lock(self._source) as is_held:
            if not is_held:
                return _UPDATED_ELSEWHERE
            stops_at = anyio.current_time() + remaining(self.options.timeout) * _SHARE_OF_TIME
            coverage = await Sync(self.inner, self._store, self._source, self.caller.user_id).run(stops_at)
            return coverage.note

    async def _hits(
        self, places: Sequence[Place], query: SearchQuery, walk: str, sessions: dict[str, SessionDetail | None]
    ) -> list[SearchHit]:
        """Return hits for those places whose text matches. Remove what is gone from the index."""

        async def session(session_id: str) -> SessionDetail | None:
            try:
                return await self.inner.get_session(session_id)
            except NotFound:
                await self._store.write(lambda tx: tables.drop_session(tx, self._source, session_id))
                return None

        unknown = [*dict.fromkeys(place.session_id for place in places if place.session_id not in sessions)]
        sessions |= zip(unknown, await map_concurrently(session, unknown), strict=True)

        async def hit(place: Place) -> SearchHit | None:
            detail = sessions[place.session_id]
            return await self._hit(place, detail, query, walk) if detail else None

        return [found for found in await map_concurrently(hit, places) if found]

    async def _hit(self, place: Place, session: SessionDetail, query: SearchQuery, walk: str) -> SearchHit | None:
        """Return the hit at a place, or None if the text there does not match."""
        role, created_at = "", session.created_at
        text = {"name": session.name, "summary": session.summary}.get(place.part, "")
        if place.part == "message":
            try:
                page = await self.inner.get_session_history(session.id, HistoryQuery(message_id=place.message_id))
            except NotFound:
                await self._store.write(lambda tx: tables.drop_place(tx, place.key))
                return None
            (message,) = page.messages
            role, created_at, text = message.role, message.created_at, message.text
        visible = self.caller.sanitize(text)
        if not query.matches(visible):
            return None
        return SearchHit(
            session_id=session.id,
            session_name=session.name,
            message_id=place.message_id,
            role=role,
            snippet="" if place.part == "name" else query.snippet(visible),
            created_at=created_at,
            cursor=cursors.mark(walk, place.key),
        )

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        change = await super().delete_session(session_id, expected_version=expected_version)
        await self._forget([session_id])
        return change

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        result = await super().apply_to_sessions(
            action, session_ids, dry_run=dry_run, expected_versions=expected_versions
        )
        if action == "delete" and not dry_run:
            await self._forget(result.succeeded)
        return result

    async def _forget(self, session_ids: Sequence[str]) -> None:
        """Remove deleted sessions. If that fails, a search does it, which finds them gone."""
        try:
            await self._store.open()
            for session_id in session_ids:
                await self._store.write(partial(tables.drop_session, source=self._source, session_id=session_id))
        except SessionsError:
            return


def _finding(
    source: str, owner: str, query: SearchQuery, below: int
) -> Callable[[Transaction], tuple[list[Place], int]]:
    def find(tx: Transaction) -> tuple[list[Place], int]:
        return tables.find(tx, source, owner, query.words, below=below, limit=_AT_ONCE)

    return find
