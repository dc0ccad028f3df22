"""Pages of sessions, and the sessions in them."""

from collections.abc import Callable
from typing import Any

from ... import cursors
from ...models import Session, SessionFilter, SessionPage
from ...text.words import fold_name
from .live import live_sessions
from .retention import Retention
from .sessions import Catalogue, Key, Row


def list_page(
    catalogue: Catalogue,
    filter: SessionFilter,
    walk: str,
    *,
    limit: int,
    after: tuple[int, ...] | None,
    sanitize: Callable[[str], str],
) -> SessionPage:
    """Return the page after the position `after`. `total` is known if all sessions were read."""
    if filter.archived or filter.agent_id or filter.type not in ("", "agent"):
        return SessionPage(sessions=(), total=0)  # Claude Code has none
    sign = -1 if filter.order.endswith("desc") else 1

    def order(key: tuple[int, ...]) -> Key:
        return sign * key[0], key[1]

    part = fold_name(filter.query)
    rows: list[Row] = []
    count, is_more = 0, False
    for row in catalogue.ordered(filter.order):
        if not filter.is_in_time(row.facts.updated_at) or part not in fold_name(sanitize(row.facts.title)):
            continue
        count += 1
        if after is not None and order(row.key) <= order(after):
            continue
        if len(rows) == limit:
            is_more = True
            break
        rows.append(row)
    about = FolderStatus(catalogue)
    note = f"{catalogue.unreadable} sessions could not be read." if catalogue.unreadable else ""
    return SessionPage(
        sessions=tuple(Session(**about.fields_of(row), cursor=cursors.mark(walk, *row.key)) for row in rows),
        next_cursor=cursors.mark(walk, *rows[-1].key) if is_more else "",
        total=None if is_more or catalogue.unreadable else count,
        note=note,
    )


class FolderStatus:
    """What files beside the transcripts say about sessions: which are open, and when Claude Code removes them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._live = live_sessions(catalogue.folder.root)
        self._retention = Retention.of(catalogue.folder.root)

    def fields_of(self, row: Row) -> dict[str, Any]:
        """Return the fields of a `Session`."""
        return {
            "id": row.file.id,
            "name": row.facts.title,
            "type": "agent",
            "project": row.facts.head.project,
            "created_at": row.facts.head.created_at,
            "updated_at": row.facts.updated_at,
            "expires_at": self._retention.expires_at(row.file.mtime),
            "is_live": row.file.id in self._live,
        }
