"""Pages of threads, and the sessions in them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ... import cursors
from ...errors import SessionsError
from ...models import Session, SessionFilter, SessionPage
from ...text.words import fold_name
from ..project_filter import in_project
from ..transcripts.values import time_of_milliseconds
from .catalogue import Catalogue, CatalogueEntry, Key
from .home import state_of
from .open_threads import is_open


def list_page(
    catalogue: Catalogue,
    filter: SessionFilter,
    walk: str,
    *,
    limit: int,
    after: tuple[int, ...] | None,
    sanitize: Callable[[str], str],
) -> SessionPage:
    """Return the page after the position `after`. `total` is known if the walk has reached the last thread."""
    if filter.agent_id or filter.type not in ("", "agent"):
        return SessionPage(sessions=(), total=0)  # all have the type agent, and none has an agent's id
    sign = -1 if filter.order.endswith("desc") else 1

    def order(key: tuple[int, ...]) -> Key:
        return sign * key[0], key[1]

    part, is_in_project = fold_name(filter.query), in_project(filter.project)
    entries: list[CatalogueEntry] = []
    count, is_more = 0, False
    for entry in catalogue.ordered(filter.order, archived=filter.archived):
        if not (filter.is_in_time(catalogue.updated_at(entry)) and is_in_project(catalogue.project(entry))):
            continue
        if part not in fold_name(sanitize(catalogue.name(entry))):
            continue
        count += 1
        if after is not None and order(entry.key) <= order(after):
            continue
        if len(entries) == limit:
            is_more = True
            break
        entries.append(entry)
    notes = [*catalogue.notes, f"{catalogue.unreadable} sessions could not be read."]
    return SessionPage(
        sessions=tuple(
            Session(**fields_of(catalogue, entry), cursor=cursors.mark(walk, *entry.key)) for entry in entries
        ),
        next_cursor=cursors.mark(walk, *entries[-1].key) if is_more else "",
        total=None if is_more or catalogue.unreadable else count,
        note=" ".join(notes if catalogue.unreadable else notes[:-1]),
    )


def fields_of(catalogue: Catalogue, entry: CatalogueEntry) -> dict[str, Any]:
    """Return the fields of a `Session`."""
    return {
        "id": entry.id,
        "name": catalogue.name(entry),
        "type": "agent",
        "project": catalogue.project(entry),
        "created_at": catalogue.created_at(entry),
        "updated_at": catalogue.updated_at(entry),
        "archived_at": _archived_at(entry) if entry.file.is_archived else None,
        "is_live": is_open(catalogue.home.root, entry.id),
    }


def _archived_at(entry: CatalogueEntry) -> datetime | None:
    """Return when a thread was archived: if Codex did not record it, when the file was moved or changed otherwise."""
    recorded = time_of_milliseconds(entry.row.archived) if entry.row else None
    if recorded is not None:
        return recorded
    try:
        return time_of_milliseconds(state_of(entry.file).mtime / 10**6)
    except SessionsError:
        return None
