"""Pages of a list of sessions, filled up to their limit although AgentOS lacks some of our filters."""

from collections.abc import Callable, Sequence
from functools import partial

import anyio

from ... import cursors
from ...models import SessionFilter, SessionPage
from ...text.words import fold_name
from .agno_before_2_6_7 import FINDS_TYPES, WalkWithoutDetails
from .api import Api
from .pages import SortKey
from .walk import Walk, WalkItem
from .wire import TYPES, AgentOsSession

# Each row costs AgentOS some 0.3 ms. A list of 20 needs 22 rows: one shows that there are more sessions, and one that
# the last group of rows with the same time is complete.
_SMALL_PAGE, _LARGE_PAGE = 24, 128


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
    """Return a walk that begins after the cursor's session (with `includes_start`, at that session), and the cursor's
    numbers.

    The first `extra` of these numbers have a meaning to the caller only. `stops_at` (anyio's clock): when to stop
    looking for sessions that paging missed.
    """
    walk_type = Walk if await api.version() >= FINDS_TYPES else WalkWithoutDetails
    after, hints, position = None, [0] * len(walk_type.list_types(filter)), ()
    if cursor:
        position = cursors.read(cursor, walk_id, extra + 2 + len(hints))
        time, digest, *hints = position[extra:]
        after = SortKey(-time if filter.order.endswith("desc") else time, digest - includes_start)
    size = _LARGE_PAGE if large_pages else _SMALL_PAGE
    opened = walk_type(api, owner, filter, size=size, after=after, hints=hints, stops_at=stops_at)
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
    """Return a full page, or the last one. After `seconds`, return the sessions found so far, and say so in `note`."""
    walk_id = cursors.walk("list", owner, *vars(filter).values())
    has_own_filter = bool(filter.archived or filter.query or filter.updated_after or filter.updated_before)
    stops_at = anyio.current_time() + seconds
    large_pages = has_own_filter or limit > _SMALL_PAGE - 2
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
        shown += [item for item, is_wanted in items if is_wanted]
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
    continue_after: Sequence[WalkItem] = (),
    note: str = "",
    *,
    is_whole: bool = False,
) -> SessionPage:
    """Return a page of these sessions. Its `next_cursor` continues after the item in `continue_after`, if any."""
    gaps = walk.gap_note()
    notes = (gaps, walk.unaddressable_note([item.session for item in shown]), note)
    return SessionPage(
        sessions=tuple(item.session.to_session(cursors.mark(walk_id, *item.position)) for item in shown),
        next_cursor=cursors.mark(walk_id, *continue_after[0].position) if continue_after else "",
        total=len(shown) if is_whole and not gaps else None,
        note=" ".join(filter(None, notes)),
    )


def _is_wanted(filter: SessionFilter, query: str, sanitize: Callable[[str], str], session: AgentOsSession) -> bool:
    """Return whether the filter selects a session."""
    if (session.archived_at is not None) != filter.archived:
        return False
    if (filter.type and session.type != filter.type) or not filter.is_in_time(session.updated_at):
        return False
    return not query or query in fold_name(sanitize(session.name))


def _is_past(filter: SessionFilter, session: AgentOsSession) -> bool:
    """Return whether all sessions after this one are outside the filter's time range."""
    if session.updated_at is None or not filter.order.startswith("updated"):
        return False
    if filter.order == "updated_desc":
        return filter.updated_after is not None and session.updated_at < filter.updated_after
    return filter.updated_before is not None and session.updated_at > filter.updated_before
