"""Lists of sessions: pages that are filled up to their limit, although AgentOS can't filter by everything."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import anyio

from ... import cursors
from ...errors import NotFound, Unsupported
from ...models import SessionFilter, SessionPage
from ...text.words import fold_name
from ..gather import map_concurrently
from ..http.client import ServerFailed
from ..http.urls import path_obstacle
from .agno_before_2_6_7 import FINDS_TYPES
from .api import Api
from .page_reader import Sort, UpstreamPage
from .pages import Key, MergedStream, Stream
from .session_paths import PYTHON_API, UNADDRESSABLE
from .wire import TYPES, AgentOsSession

# Each row costs AgentOS some 0.3 ms. A list of 20 needs 22 rows: one shows that there are more sessions, and one that
# the last group of rows with the same time is complete.
_SMALL_PAGE, _LARGE_PAGE = 24, 128


class WalkItem(NamedTuple):
    """A session of a walk, with its key and the hints to continue behind it."""

    session: AgentOsSession
    key: Key
    hints: tuple[int, ...]

    @property
    def position(self) -> tuple[int, ...]:
        """The numbers for a cursor."""
        return abs(self.key.time), self.key.digest, *self.hints


class Walk:
    """The owner's sessions in the order of `filter`, from the key `start` on.

    `items_have_details` is False before agno 2.6: list items then lack fields, and each session is read by itself.
    `includes_start`: begin at the session with this key, not behind it.
    """

    def __init__(
        self,
        api: Api,
        owner: str,
        filter: SessionFilter,
        types: Sequence[str],
        *,
        items_have_details: bool,
        large_pages: bool,
        start: Key | None,
        includes_start: bool,
        hints: Sequence[int],
        stops_at: float,
    ) -> None:
        self._api = api
        self._owner = owner
        self._filter = filter
        self._items_have_details = items_have_details
        self._failed_detail_count = 0
        self._unaddressable_count = 0
        size = _LARGE_PAGE if large_pages else _SMALL_PAGE
        after = start._replace(digest=start.digest - 1) if start and includes_start else start
        self._stream = MergedStream(
            [
                Stream(partial(self._fetch_page, type), filter.order, size, after=after, hint=hint, stops_at=stops_at)
                for type, hint in zip(types, hints, strict=True)
            ]
        )

    @property
    def row_count(self) -> int:
        """How many rows of AgentOS's lists were read so far."""
        return self._stream.summary.row_count

    def gap_note(self) -> str:
        """Return a note on the sessions that are missing so far; "" if there are none."""
        summary = self._stream.summary
        failed_count = summary.failed_count + self._failed_detail_count
        notes: list[str] = []
        if summary.may_miss_sessions:
            notes.append(
                "AgentOS failed on some sessions of its list. Those are left out, and others with the same time may be "
                "missing. Filter by type or agent_id to list fewer sessions at once."
            )
        elif failed_count:
            places = ", ".join(str(offset + 1) for offset in summary.failed_offsets)
            where = f", at place {places} of its list" if places else ""
            notes.append(f"AgentOS failed on {failed_count} session(s){where}; those are left out.")
        if self._unaddressable_count:
            notes.append(
                f"{self._unaddressable_count} session(s) are left out, because their user and whether they are "
                f"archived are unknown: {UNADDRESSABLE}. To open them, use {PYTHON_API}."
            )
        return " ".join(notes)

    async def next(self, count: int, wanted: Callable[[AgentOsSession], bool]) -> list[tuple[WalkItem, bool]]:
        """Return at most `count` sessions, each with whether it is wanted; an empty list at the end."""
        while True:
            items = [WalkItem(row.session, row.key, hints) for row, hints in await self._stream.take(count)]
            # AgentOS may list other users' sessions too.
            own = [
                item
                for item in items
                if not (self._items_have_details and self._owner not in ("", item.session.user_id))
            ]
            if own or not items:
                break
        if self._items_have_details:
            return [(item, wanted(item.session)) for item in own]
        return await map_concurrently(partial(self._load_details, wanted), own)

    async def _load_details(self, wanted: Callable[[AgentOsSession], bool], item: WalkItem) -> tuple[WalkItem, bool]:
        if not wanted(item.session):
            return item, False
        try:
            session = await self._api.find(item.session.id, self._owner)
        except NotFound:
            return item, False  # removed meanwhile
        except ServerFailed:
            self._failed_detail_count += 1
            return item, False
        except Unsupported:  # no path can carry the id
            # A session may be shown to one user, or as archived, only if it is known to be so.
            is_left_out = bool(self._owner) or self._filter.archived
            self._unaddressable_count += is_left_out
            return item, not is_left_out
        return item._replace(session=session), wanted(session)

    async def _fetch_page(self, type: str, sort: Sort, page: int, size: int) -> UpstreamPage:
        by, _, direction = self._filter.order.partition("_")
        if sort == "reversed time":
            direction = "asc" if direction == "desc" else "desc"
        return await self._api.list_page(
            self._owner,
            type=type,
            component=self._filter.agent_id,
            by="session_id" if sort == "id" else f"{by}_at",
            order=direction,
            page=page,
            size=size,
        )


async def open_walk(
    api: Api,
    owner: str,
    filter: SessionFilter,
    cursor: str,
    walk_id: str,
    *,
    stops_at: float,
    extra: int = 0,
    large_pages: bool = False,
    includes_start: bool = False,
) -> tuple[Walk, tuple[int, ...]]:
    """Return a walk that begins at the cursor's session or right behind it, and all numbers of the cursor.

    The first `extra` numbers are the caller's own. `stops_at` (anyio's clock): when to stop looking for sessions that
    paging missed.
    """
    items_have_details = await api.version() >= FINDS_TYPES
    # Since agno 2.6 a list has sessions of every type unless one is named. Before, it has agents' only.
    types = (filter.type,) if filter.type or items_have_details else TYPES
    start, hints, position = None, [0] * len(types), ()
    if cursor:
        position = cursors.read(cursor, walk_id, extra + 2 + len(types))
        time, digest, *hints = position[extra:]
        start = Key(-time if filter.order.endswith("desc") else time, digest)
    opened = Walk(
        api,
        owner,
        filter,
        types,
        items_have_details=items_have_details,
        large_pages=large_pages,
        start=start,
        includes_start=includes_start,
        hints=hints,
        stops_at=stops_at,
    )
    return opened, position


async def list_sessions(
    api: Api,
    owner: str,
    filter: SessionFilter,
    limit: int,
    cursor: str,
    *,
    sanitize: Callable[[str], str],
    seconds: float,
) -> SessionPage:
    """Return a full page, or the last one. After `seconds`, return the sessions found so far and how many were read."""
    walk_id = cursors.walk("list", owner, *vars(filter).values())
    is_narrow = bool(filter.archived or filter.query or filter.updated_after or filter.updated_before)
    stops_at = anyio.current_time() + seconds
    large_pages = is_narrow or limit > _SMALL_PAGE - 2
    walk, _ = await open_walk(api, owner, filter, cursor, walk_id, stops_at=stops_at, large_pages=large_pages)
    if filter.type and filter.type not in TYPES:
        return SessionPage(sessions=(), total=0)
    wanted = partial(_is_wanted, filter, fold_name(filter.query), sanitize)
    shown: list[WalkItem] = []
    while len(shown) <= limit:
        items = await walk.next(limit + 1 - len(shown), wanted)
        if not items:
            return _session_page(shown, walk_id, walk, is_whole=not cursor)
        last = items[-1][0]
        shown += [item for item, is_shown in items if is_shown]
        if _is_past(filter, last.session):
            return _session_page(shown[:limit], walk_id, walk, shown[limit - 1 : limit] if len(shown) > limit else ())
        if anyio.current_time() > stops_at and len(shown) <= limit:
            note = f"Only {walk.row_count:,} sessions were read so far. Continue with next_cursor."
            return _session_page(shown, walk_id, walk, [last], note)
    return _session_page(shown[:limit], walk_id, walk, shown[limit - 1 : limit])


def _session_page(
    shown: Sequence[WalkItem],
    walk_id: str,
    walk: Walk,
    behind: Sequence[WalkItem] = (),
    note: str = "",
    *,
    is_whole: bool = False,
) -> SessionPage:
    """Return a page of these sessions. Its `next_cursor` continues behind the item in `behind`, if there is one."""
    gaps = walk.gap_note()
    notes = (gaps, _unaddressable_note(shown), note)
    return SessionPage(
        sessions=tuple(item.session.to_session(cursors.mark(walk_id, *item.position)) for item in shown),
        next_cursor=cursors.mark(walk_id, *behind[0].position) if behind else "",
        total=len(shown) if is_whole and not gaps else None,
        note=" ".join(filter(None, notes)),
    )


def _unaddressable_note(shown: Sequence[WalkItem]) -> str:
    sessions = [item.session for item in shown if path_obstacle(item.session.id)]
    if not sessions:
        return ""
    unknown = "" if sessions[0].has_details else " Their agent, user and whether they are archived are unknown."
    return (
        f"{len(sessions)} session(s) can only be listed, not opened or changed: {UNADDRESSABLE}.{unknown} To open or "
        f"change them, use {PYTHON_API}."
    )


def _is_wanted(filter: SessionFilter, query: str, sanitize: Callable[[str], str], session: AgentOsSession) -> bool:
    """Return whether the filter selects a session, as far as that is known before its details are read."""
    if session.has_details and (session.archived_at is not None) != filter.archived:
        return False
    if (filter.type and session.type != filter.type) or not filter.is_in_time(session.updated_at):
        return False
    return not query or query in fold_name(sanitize(session.name))


def _is_past(filter: SessionFilter, session: AgentOsSession) -> bool:
    """Return whether all later sessions are outside of the filter's times."""
    if session.updated_at is None or not filter.order.startswith("updated"):
        return False
    if filter.order == "updated_desc":
        return filter.updated_after is not None and session.updated_at < filter.updated_after
    return filter.updated_before is not None and session.updated_at > filter.updated_before
