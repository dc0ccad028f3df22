"""Pages of the list of sessions: opencode itself has one order, and few of our filters."""

from collections.abc import Callable, Sequence

from ... import cursors
from ...models import SessionFilter, SessionPage
from ...text.words import fold_name
from ..project_filter import in_project
from .source import OpencodeSource
from .walk import Position, Walk, position_of
from .wire import OpencodeSession


async def list_sessions(
    source: OpencodeSource,
    filter: SessionFilter,
    limit: int,
    cursor: str,
    *,
    sanitize: Callable[[str], str],
    owner: str,
) -> SessionPage:
    """Return a page. Orders other than `updated_desc` read the list of all sessions first."""
    walk_id = cursors.walk("list", owner, *vars(filter).values())
    after = cursors.read(cursor, walk_id, 2) if cursor else None
    is_wanted = _predicate(filter, sanitize)
    if filter.order == "updated_desc":
        found, is_whole = await _read_newest(source, filter, is_wanted, limit + 1, after)
        total = len(found) if is_whole and after is None and len(found) <= limit else None
    else:
        found, total = await _read_sorted(source, filter, is_wanted, after)
    page = [session.to_session(cursors.mark(walk_id, *_place(session, filter))) for session in found[:limit]]
    return SessionPage(
        sessions=tuple(page), next_cursor=page[-1].cursor if page and len(found) > limit else "", total=total
    )


async def _read_newest(
    source: OpencodeSource,
    filter: SessionFilter,
    is_wanted: Callable[[OpencodeSession], bool],
    count: int,
    after: tuple[int, ...] | None,
) -> tuple[list[OpencodeSession], bool]:
    """Return the first `count` wanted sessions after a place, and whether there are no others."""
    walk = Walk(source, start=(after[0], after[1] + 1) if after else None)
    earliest = filter.updated_after.timestamp() * 1000 if filter.updated_after else 0
    found: list[OpencodeSession] = []
    while len(found) < count:
        session = await walk.next()
        if session is None or session.updated < earliest:
            return found, True
        if is_wanted(session):
            found.append(session)
    return found, False


async def _read_sorted(
    source: OpencodeSource,
    filter: SessionFilter,
    is_wanted: Callable[[OpencodeSession], bool],
    after: tuple[int, ...] | None,
) -> tuple[Sequence[OpencodeSession], int]:
    """Return all wanted sessions after a place in the filter's order, and the number of all wanted sessions."""
    sign = -1 if filter.order.endswith("desc") else 1

    def key(place: tuple[int, ...]) -> tuple[int, int]:
        return sign * place[0], place[1]

    walk = Walk(source)
    wanted: dict[str, OpencodeSession] = {}
    while session := await walk.next():
        if is_wanted(session):
            wanted[session.id] = session
    found = sorted(wanted.values(), key=lambda session: key(_place(session, filter)))
    rest = found if after is None else [row for row in found if key(_place(row, filter)) > key(after)]
    return rest, len(found)


def _place(session: OpencodeSession, filter: SessionFilter) -> Position:
    return position_of(session) if filter.order.startswith("updated") else (session.created, session.digest)


def _predicate(filter: SessionFilter, sanitize: Callable[[str], str]) -> Callable[[OpencodeSession], bool]:
    """Return a function that returns whether the filter selects a session."""
    query, is_in_project = fold_name(filter.query), in_project(filter.project)

    def is_wanted(session: OpencodeSession) -> bool:
        if session.is_archived != filter.archived or filter.type not in ("", "agent"):
            return False
        if filter.agent_id not in ("", session.agent) or not is_in_project(session.directory):
            return False
        item = session.to_session()
        return filter.is_in_time(item.updated_at) and (not query or query in fold_name(sanitize(item.name)))

    return is_wanted
