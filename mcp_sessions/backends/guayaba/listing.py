"""Pages of a list that Guayaba gives in one piece."""

from collections.abc import Callable, Sequence

from ... import cursors
from ...models import SessionFilter, SessionPage
from ...text.words import folded
from .directory import Listed
from .wire import Entry

_MOST_NAMED = 10


def page_of(
    listed: Listed,
    filter: SessionFilter,
    limit: int,
    after: tuple[int, ...] | None,
    walk: str,
    *,
    present: Callable[[str], str],
    id_of: Callable[[Entry], str],
    owner: str,
) -> SessionPage:
    """The page behind a place in the order; `total` is known where every agent could be asked."""
    sign = -1 if filter.order.endswith("desc") else 1

    def order(place: tuple[int, ...]) -> tuple[int, int]:
        return sign * place[0], place[1]

    part = folded(filter.query)
    matching = sorted(
        (entry for entry in listed.entries if _is_wanted(entry, filter, part, present)),
        key=lambda entry: order(entry.place),
    )
    rest = matching if after is None else [entry for entry in matching if order(entry.place) > order(after)]
    page = rest[:limit]
    return SessionPage(
        sessions=tuple(entry.session(id_of(entry), cursors.mark(walk, *entry.place), owner=owner) for entry in page),
        next_cursor=cursors.mark(walk, *page[-1].place) if len(rest) > limit else "",
        total=len(matching) if is_whole(listed) else None,
        note=note_of(listed),
    )


def is_whole(listed: Listed) -> bool:
    """Whether every agent could be asked."""
    return not listed.away and listed.are_all_agents


def note_of(listed: Listed) -> str:
    """Which agents could not be asked."""
    notes: list[str] = []
    if listed.away:
        notes.append(f"These agents did not answer, so their sessions are missing: {_named(listed.away)}.")
    if not listed.are_all_agents:
        notes.append("There are more agents than can be listed at once; agent_id names another.")
    return " ".join(notes)


def _named(agents: Sequence[str]) -> str:
    """As many as a sentence bears."""
    more = f" and {len(agents) - _MOST_NAMED:,} more" if len(agents) > _MOST_NAMED else ""
    return ", ".join(agents[:_MOST_NAMED]) + more


def _is_wanted(entry: Entry, filter: SessionFilter, part: str, present: Callable[[str], str]) -> bool:
    if filter.type not in ("", "agent") or (part and part not in folded(present(entry.name))):
        return False
    return filter.is_in_time(entry.changed_at)
