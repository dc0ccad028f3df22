"""Pages of a list that Guayaba gives in one piece."""

from collections.abc import Callable
from math import ceil, floor

from ... import cursor as cursors
from ...models import SessionFilter, SessionPage
from .._words import folded
from .directory import Listed
from .wire import Entry


def page_of(
    listed: Listed,
    filter: SessionFilter,
    limit: int,
    after: tuple[int, ...] | None,
    walk: str,
    *,
    present: Callable[[str], str],
    id_of: Callable[[Entry], str],
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
    is_whole = not listed.away and listed.are_all_agents
    return SessionPage(
        sessions=tuple(entry.session(id_of(entry), cursors.mark(walk, *entry.place)) for entry in page),
        next_cursor=cursors.mark(walk, *page[-1].place) if len(rest) > limit else "",
        total=len(matching) if is_whole else None,
        note=_note(listed),
    )


def _note(listed: Listed) -> str:
    notes: list[str] = []
    if listed.away:
        notes.append(f"These agents did not answer, so their sessions are missing: {', '.join(listed.away)}.")
    if not listed.are_all_agents:
        notes.append("Only the first 1,000 agents are listed; agent_id names another.")
    return " ".join(notes)


def _is_wanted(entry: Entry, filter: SessionFilter, part: str, present: Callable[[str], str]) -> bool:
    if filter.type not in ("", "agent") or (part and part not in folded(present(entry.name))):
        return False
    changed = entry.changed_at.timestamp() if entry.changed_at else 0.0
    after, before = filter.updated_after, filter.updated_before
    return (after is None or changed >= floor(after.timestamp()) + 1) and (
        before is None or changed < ceil(before.timestamp())
    )
