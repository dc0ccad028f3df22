"""`Indexed`, a layer that searches a backend's sessions by an index of its own."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import anyio

from .... import cursors
from ....errors import Busy, SessionsError, Timeout, Unavailable
from ....models import BulkAction, BulkResult, Change, SearchHit, SearchPage
from ....text.search_query import SearchQuery, parse_query
from ...base import Capability, SessionBackend
from ...database.database import DeadlineExceeded, Transaction
from ...deadline import deadline, remaining
from ...health import Report
from ..wrapper import Wrapper
from . import tables
from .indexer import FoundText, Indexer, Progress
from .labels import searched_labels
from .list_indexer import ListIndexer
from .store import DamagedIndex, IndexStore, OpenIndex, ReplacedIndex, UnusableIndex
from .tables import Place
from .transcript_indexer import TranscriptIndexer

T = TypeVar("T")

_ATTEMPTS = 3
_SHARE_OF_TIME = 0.4
"""The part of a call's time for updating the index, and also the part for reading the hits."""
_FEWEST_PLACES = 8
"""The least number of places that are looked at in a round, even if fewer hits are missing."""
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
        try:
            await self._store.__aexit__(exc_type, exc, traceback)
        finally:
            await super().__aexit__(exc_type, exc, traceback)

    async def examine(self, report: Report) -> None:
        await super().examine(report)
        await self._store.examine(self._source, report)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search names and messages: names first, each newest first."""
        with deadline(self.options.timeout):
            return await self._search_by_index(query, project, limit, cursor)

    async def _search_by_index(self, query: str, project: str, limit: int, cursor: str) -> SearchPage:
        parsed = parse_query(query)
        labels = searched_labels(self._source, self.caller.user_id, project)
        if self.caller.credential or self.caller.credentials:  # the index can't tell what this credential may see
            return await self.inner.search_sessions(query, project=project, limit=limit, cursor=cursor)
        walk = cursors.walk("index", self.caller.user_id, parsed.key, project)
        (below,) = cursors.read(cursor, walk, 1) if cursor else (tables.MAX_KEY,)
        try:
            return await self._with_index(partial(self._search, parsed, labels, walk, below, limit))
        except UnusableIndex as error:
            return await self._search_without_index(query, project, limit, cursor, error)

    async def _with_index(self, work: Callable[[OpenIndex], Awaitable[T]]) -> T:
        """Call `work` with the index, and again with a new file if the file was damaged or replaced meanwhile."""
        note = ""
        for _ in range(_ATTEMPTS):
            index = await self._store.open()
            try:
                return await work(replace(index, note=note or index.note))
            except DamagedIndex as error:
                note = await self._store.rebuild(error)
            except ReplacedIndex:
                continue
        raise UnusableIndex("the index was damaged or replaced again and again.")

    async def _search_without_index(
        self, query: str, project: str, limit: int, cursor: str, error: Unavailable
    ) -> SearchPage:
        """Search by the backend itself. Raise the error if it has no search."""
        if Capability.SEARCH_SESSIONS not in self.inner.capabilities:
            raise Unavailable(f"the search index can't be used: {error.message}") from error
        page = await self.inner.search_sessions(query, project=project, limit=limit, cursor=cursor)
        note = f"The search index can't be used, so the sessions themselves were read: {error.message}"
        return page.model_copy(update={"note": " ".join(filter(None, (note, page.note)))})

    async def _search(
        self, query: SearchQuery, labels: str, walk: str, below: int, limit: int, index: OpenIndex
    ) -> SearchPage:
        indexer = await self._open_indexer(index)
        missing = await self._update(indexer)
        owner = self.caller.user_id
        hits: list[SearchHit] = []
        stops_at = anyio.current_time() + remaining(self.options.timeout) * _SHARE_OF_TIME
        notes = [index.note, missing]
        while below and len(hits) <= limit and anyio.current_time() < stops_at:
            try:
                count = max(limit + 1 - len(hits), _FEWEST_PLACES)
                places, next_below = await index.search(_search_work(labels, query, below, count))
                texts = await indexer.read(places)
            except (DeadlineExceeded, Timeout):
                break
            hits += self._hits(places, texts, query, walk)
            below = next_below
        unreadable = await index.scan(lambda tx: tables.unreadable(tx, self._source, owner))
        if unreadable:
            notes.append(f"{len(unreadable)} sessions could not be read, among them {', '.join(unreadable[:3])}.")
        is_full = len(hits) > limit
        is_late = bool(below) and not is_full
        if is_late:
            notes.append("The search took too long and stopped here. Continue with next_cursor.")
        next_cursor = hits[limit - 1].cursor if is_full else cursors.mark(walk, below) if is_late else ""
        return SearchPage(
            hits=tuple(hits[:limit]),
            next_cursor=next_cursor,
            complete=not (is_late or missing or unreadable),
            note=" ".join(filter(None, notes)),
        )

    async def _open_indexer(self, index: OpenIndex, progress: Progress | None = None) -> Indexer:
        feed = await self.inner.transcript_feed()
        report = progress or self._report
        if feed is not None:
            return TranscriptIndexer(self.inner, feed, index, self._source, report)
        return ListIndexer(self.inner, index, self._source, self.caller.user_id, report)

    async def _report(self, done: int, total: int) -> None:
        await self.caller.progress(done, f"{done} of {total} sessions indexed")

    async def update_index(self, progress: Progress) -> str:
        """Index everything that is not indexed yet. Return a note on what could not be read, "" if nothing.

        Raise `Busy` if another process is updating the index, and the errors of the system and of `IndexStore`.
        """
        await self.inner.check_reachable()
        return await self._with_index(partial(self._update_whole_index, progress))

    async def _update_whole_index(self, progress: Progress, index: OpenIndex) -> str:
        with self._store.sync_lock(self._source) as is_held:
            if not is_held:
                raise Busy("another process is updating the index. Wait for it to finish, then try again.")
            indexer = await self._open_indexer(index, progress)
            note = (await indexer.update(math.inf)).note
        unreadable = await index.scan(lambda tx: tables.unreadable(tx, self._source, self.caller.user_id))
        return f"{note} {len(unreadable)} sessions could not be read.".strip() if unreadable else note

    async def _update(self, indexer: Indexer) -> str:
        """Index what changed, unless another call or process is doing that. Return a note on what is missing."""
        with self._store.sync_lock(self._source) as is_held:
            if not is_held:
                return _UPDATED_ELSEWHERE
            stops_at = anyio.current_time() + remaining(self.options.timeout) * _SHARE_OF_TIME
            return (await indexer.update(stops_at)).note

    def _hits(
        self, places: Sequence[Place], texts: Sequence[FoundText | None], query: SearchQuery, walk: str
    ) -> list[SearchHit]:
        """Return hits for those places whose text matches."""
        hits: list[SearchHit] = []
        for place, found in zip(places, texts, strict=True):
            visible = self.caller.sanitize(found.text) if found else ""
            if found and visible and query.matches(visible):
                hits.append(
                    SearchHit(
                        session_id=place.session_id,
                        session_name=found.session_name,
                        message_id=place.message_id,
                        role=found.role,
                        snippet="" if place.part == "name" else query.snippet(visible),
                        created_at=found.created_at,
                        cursor=cursors.mark(walk, place.key),
                    )
                )
        return hits

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        change = await super().delete_session(session_id, expected_version=expected_version)
        await self._drop_sessions([session_id])
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
            await self._drop_sessions(result.succeeded)
        return result

    async def _drop_sessions(self, session_ids: Sequence[str]) -> None:
        """Remove deleted sessions from the index. If that fails, the next search that finds them removes them."""
        try:
            index = await self._store.open()
            for session_id in session_ids:
                await index.write(partial(tables.drop_session, source=self._source, session_id=session_id))
        except SessionsError:
            return


def _search_work(
    labels: str, query: SearchQuery, below: int, limit: int
) -> Callable[[Transaction], tuple[list[Place], int]]:
    """Return the function that finds places in a transaction."""

    def find(tx: Transaction) -> tuple[list[Place], int]:
        return tables.find(tx, labels, query.words, below=below, limit=limit)

    return find
