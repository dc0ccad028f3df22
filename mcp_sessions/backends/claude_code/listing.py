"""Pages of sessions, and the sessions in them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import cursors
from ...models import Session, SessionFilter, SessionPage
from ...text.words import fold_name
from ..project_filter import in_project
from .catalogue import Catalogue, CatalogueEntry, Key
from .folder import SessionFile
from .retention import Retention
from .running_processes import live_sessions

_KEPT_NOTE = "Claude Code has removed these sessions, and copies were kept. restore_session puts one back."


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
    if filter.agent_id or filter.type not in ("", "agent"):
        return SessionPage(sessions=(), total=0)  # all have the type agent, and none has an agent's id
    sign = -1 if filter.order.endswith("desc") else 1

    def order(key: tuple[int, ...]) -> Key:
        return sign * key[0], key[1]

    part, is_in_project = fold_name(filter.query), in_project(filter.project)
    entries: list[CatalogueEntry] = []
    count, is_more = 0, False
    for entry in catalogue.ordered(filter.order, is_kept=filter.archived):
        if not (filter.is_in_time(entry.facts.updated_at) and is_in_project(entry.facts.head.project)):
            continue
        if part not in fold_name(sanitize(entry.facts.title)):
            continue
        count += 1
        if after is not None and order(entry.key) <= order(after):
            continue
        if len(entries) == limit:
            is_more = True
            break
        entries.append(entry)
    about = FolderStatus(catalogue)
    notes = [f"{catalogue.unreadable} sessions could not be read."] if catalogue.unreadable else []
    notes += [_KEPT_NOTE] if entries and filter.archived else []
    return SessionPage(
        sessions=tuple(Session(**about.fields_of(entry), cursor=cursors.mark(walk, *entry.key)) for entry in entries),
        next_cursor=cursors.mark(walk, *entries[-1].key) if is_more else "",
        total=None if is_more or catalogue.unreadable else count,
        note=" ".join(notes),
    )


class FolderStatus:
    """What files beside the transcripts say about sessions: which are open, and when Claude Code removes them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._live = live_sessions(catalogue.folder.root)
        self._retention = Retention.of(catalogue.folder.root)

    def fields_of(self, entry: CatalogueEntry) -> dict[str, Any]:
        """Return the fields of a `Session`."""
        return {
            "id": entry.file.id,
            "name": entry.facts.title,
            "type": "agent",
            "project": entry.facts.head.project,
            "created_at": entry.facts.head.created_at,
            "updated_at": entry.facts.updated_at,
            "archived_at": _removed_at(entry.file) if entry.file.is_kept else None,
            "expires_at": None if entry.file.is_kept else self._retention.expires_at(entry.file.mtime),
            "is_live": entry.file.id in self._live,
        }


def _removed_at(file: SessionFile) -> datetime:
    """Return when Claude Code removed a transcript: the removal was the last change of the number of its links."""
    try:
        changed = Path(file.path).stat().st_ctime
    except OSError:
        changed = file.mtime / 1e9
    return datetime.fromtimestamp(changed, UTC)
