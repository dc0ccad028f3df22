"""Pages of a listing: Guayaba itself returns all sessions at once."""

from collections.abc import Callable, Sequence

from ... import cursors
from ...models import SessionFilter, SessionPage
from ...text.words import fold_name
from .directory import Listing
from .wire import GuayabaSession

_MAX_NAMED_AGENTS = 10


def page_of(
    listing: Listing,
    filter: SessionFilter,
    limit: int,
    after: tuple[int, ...] | None,
    walk_id: str,
    *,
    sanitize: Callable[[str], str],
    id_of: Callable[[GuayabaSession], str],
    owner: str,
) -> SessionPage:
    """Return the page after the position `after`. Its `total` is known if every agent was available."""
    sign = -1 if filter.order.endswith("desc") else 1

    def order(position: tuple[int, ...]) -> tuple[int, int]:
        return sign * position[0], position[1]

    query = fold_name(filter.query)
    matching = sorted(
        (session for session in listing.sessions if _is_wanted(session, filter, query, sanitize)),
        key=lambda session: order(session.position),
    )
    rest = matching if after is None else [session for session in matching if order(session.position) > order(after)]
    page = rest[:limit]
    return SessionPage(
        sessions=tuple(
            session.to_session(id_of(session), cursors.mark(walk_id, *session.position), owner=owner)
            for session in page
        ),
        next_cursor=cursors.mark(walk_id, *page[-1].position) if len(rest) > limit else "",
        total=len(matching) if listing.is_complete else None,
        note=gap_note(listing),
    )


def gap_note(listing: Listing) -> str:
    """Return a note about agents whose sessions are missing; "" if there are none."""
    notes: list[str] = []
    if listing.unavailable_agents:
        names = _enumerate(listing.unavailable_agents)
        notes.append(f"These agents did not answer, so their sessions are missing: {names}.")
    if not listing.has_all_agents:
        notes.append("There are more agents than can be listed at once. Use agent_id for another one.")
    return " ".join(notes)


def _enumerate(agents: Sequence[str]) -> str:
    more = f" and {len(agents) - _MAX_NAMED_AGENTS:,} more" if len(agents) > _MAX_NAMED_AGENTS else ""
    return ", ".join(agents[:_MAX_NAMED_AGENTS]) + more


def _is_wanted(session: GuayabaSession, filter: SessionFilter, query: str, sanitize: Callable[[str], str]) -> bool:
    """Return whether the filter selects a session."""
    if filter.type not in ("", "agent") or (query and query not in fold_name(sanitize(session.name))):
        return False
    return filter.is_in_time(session.changed_at)
