"""Statements on the rows of sessions, to be run inside a transaction.

`owner` is the only user whose sessions the caller may use, or "" for all. Every statement that finds a row checks
it. The other functions take a row that was found in the same transaction, and locked there if it will be changed.
"""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil, floor
from typing import Any, NamedTuple

from ... import cursors
from ...errors import NotFound, quoted
from ...json_documents import JsonObject
from ...models import Session, SessionDetail, SessionFilter, SessionPage, iso
from ...text.validate import check_text
from ...text.words import fold_name
from ..database.database import SearchIndex, Transaction
from ..database.times import now_micros, to_datetime
from ..validation import NAME_LENGTH

LISTED, ARCHIVED, DELETED = range(3)
_MAX_NAMES = 2_000  # read in one call; redacting a long name takes up to 0.3 ms
_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_ALPHABET = "23456789" + _LETTERS


class SessionRow(NamedTuple):
    """A row of the table `sessions`. Times are microseconds since 1970, UTC."""

    key: int
    id: str
    name: str
    type: str
    agent_id: str
    user_id: str
    place: int
    created_at: int
    updated_at: int
    archived_at: int | None
    purge_at: int | None
    version: int
    message_count: int
    run_count: int
    summary: str
    metadata: str
    state: str

    def detail(self) -> SessionDetail:
        return SessionDetail(
            id=self.id,
            name=self.name,
            type=self.type,
            agent_id=self.agent_id,
            user_id=self.user_id,
            created_at=to_datetime(self.created_at),
            updated_at=to_datetime(self.updated_at),
            archived_at=None if self.archived_at is None else to_datetime(self.archived_at),
            state=json.loads(self.state),
            metadata=json.loads(self.metadata),
            summary=self.summary,
            message_count=self.message_count,
            run_count=self.run_count,
            version=str(self.version),
        )


_STOPPED = f"Stopped after {_MAX_NAMES:,} names. Continue with next_cursor."
_COLUMNS = ", ".join(SessionRow._fields)
_LISTED_COLUMNS = "id, name, type, agent_id, user_id, created_at, updated_at, archived_at, key"


def _new_id() -> str:
    """Return a random id: eight characters, at most eight tokens. It begins with a letter, so it is never a number."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_ALPHABET) for _ in range(7))


def find(tx: Transaction, owner: str, session_id: str, *, deleted: bool = False) -> SessionRow:
    """Return a session's row. Raise `NotFound` if it is not the owner's, or is deleted and `deleted` is False."""
    check_text(session_id, "session_id", NAME_LENGTH)
    row = tx.one(
        f"SELECT {_COLUMNS} FROM sessions WHERE id = ?" + (" AND user_id = ?" if owner else "") + tx.lock,
        *((session_id, owner) if owner else (session_id,)),
    )
    if row is None:
        raise NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")
    if bytes in map(type, row):
        raise TypeError("a BLOB")  # SQLite accepts one in any column; the store never writes any
    session = SessionRow(*row)
    if session.purge_at is not None and not deleted:
        until = iso(to_datetime(session.purge_at))
        raise NotFound(f"session {quoted(session_id)} was deleted. restore_session can restore it until {until}.")
    return session


def ids_beginning_with(tx: Transaction, owner: str, prefix: str, limit: int) -> list[str]:
    """Return up to `limit` ids of undeleted sessions that begin with `prefix`, newest first."""
    id = "id" + tx.byte_collation
    # `|| ''` keeps SQLite from using the index on user_id, with which it would read all of the owner's sessions.
    owned = " AND user_id || '' = ?" if owner else ""
    rows = tx.all(
        f"SELECT id FROM sessions WHERE {id} >= ? AND {id} < ? AND place != ?{owned}"
        " ORDER BY updated_at DESC, key DESC LIMIT ?",
        prefix,
        prefix + "\U0010ffff",
        DELETED,
        *([owner] if owner else []),
        limit,
    )
    return [found for (found,) in rows]


def is_answered_by_index(filter: SessionFilter, owner: str) -> bool:
    """Return whether an index answers a list. Otherwise it may have to read every session."""
    by_created = filter.order.startswith("created")
    ranged = filter.updated_after is not None or filter.updated_before is not None
    return not (filter.query or filter.type or (by_created and ranged) or (filter.agent_id and (owner or by_created)))


def list_page(tx: Transaction, owner: str, filter: SessionFilter, limit: int, cursor: str) -> SessionPage:
    """Return a page of sessions by keyset pagination.

    Sessions created between two calls don't shift the pages. In an order by update time, a session that changes moves.
    """
    walk = cursors.walk("list", owner, *vars(filter).values())
    column, _, direction = filter.order.partition("_")
    column = f"{column}_at"
    where, values = _selection(owner, filter)
    if cursor:
        position = cursors.read(cursor, walk, 2)
        where.append(f"({column}, key) {'<' if direction == 'desc' else '>'} (?, ?)")
        values += position
    rows = tx.all(
        f"SELECT {_LISTED_COLUMNS}, {column} FROM sessions WHERE {' AND '.join(where)}"
        f" ORDER BY {column} {direction}, key {direction} LIMIT ?",
        *values,
        limit + 1,
    )
    at = datetime.fromtimestamp  # twice as fast as letting pydantic convert the number
    sessions = [
        {
            "id": id,
            "name": name,
            "type": type,
            "agent_id": agent_id,
            "user_id": user_id,
            "created_at": at(created_at / 1e6, UTC),
            "updated_at": at(updated_at / 1e6, UTC),
            "archived_at": None if archived_at is None else to_datetime(archived_at),
            "cursor": f"{walk}.{position}.{key}",
        }
        for id, name, type, agent_id, user_id, created_at, updated_at, archived_at, key, position in rows[:limit]
    ]
    more = len(rows) > limit
    # One validation for the whole page: one for each session would take as long as the query.
    return SessionPage.__pydantic_validator__.validate_python(
        {
            "sessions": sessions,
            "next_cursor": sessions[-1]["cursor"] if more else "",
            "total": None if more or cursor else len(sessions),
        }
    )


def list_page_by_name(
    tx: Transaction, owner: str, filter: SessionFilter, limit: int, cursor: str, sanitize: Callable[[str], str]
) -> SessionPage:
    """Return a page of sessions whose names contain the query, in the text that the caller may see.

    After `_MAX_NAMES` names, return the page as it is, with a cursor that continues there.
    """
    query = fold_name(filter.query)
    shown: list[Session] = []
    next_cursor, read_count = cursor, 0
    while read_count < _MAX_NAMES:
        page = list_page(tx, owner, filter, limit + 1, next_cursor)
        shown += [row for row in page.sessions if query in fold_name(sanitize(row.name))]
        next_cursor, read_count = page.next_cursor, read_count + len(page.sessions)
        if len(shown) > limit:
            return SessionPage(sessions=tuple(shown[:limit]), next_cursor=shown[limit - 1].cursor)
        if not next_cursor:
            return SessionPage(sessions=tuple(shown), total=None if cursor else len(shown))
    return SessionPage(sessions=tuple(shown), next_cursor=next_cursor, note=_STOPPED)


def _selection(owner: str, filter: SessionFilter) -> tuple[list[str], list[object]]:
    conditions: dict[str, object] = {"place = ?": ARCHIVED if filter.archived else LISTED}
    if owner:
        conditions["user_id = ?"] = owner
    if filter.agent_id:
        conditions["agent_id = ?"] = filter.agent_id
    if filter.type:
        conditions["type = ?"] = filter.type
    if filter.query:
        name = fold_name(filter.query).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions["folded_name LIKE ? ESCAPE '\\'"] = f"%{name}%"
    # Results show times to the second, so times are compared to the second.
    if filter.updated_after is not None:
        conditions["updated_at >= ?"] = (floor(filter.updated_after.timestamp()) + 1) * 1_000_000
    if filter.updated_before is not None:
        conditions["updated_at < ?"] = ceil(filter.updated_before.timestamp()) * 1_000_000
    return list(conditions), list(conditions.values())


def insert(
    tx: Transaction,
    index: SearchIndex,
    *,
    name: str,
    type: str,
    agent_id: str,
    user_id: str,
    state: str,
    metadata: str,
    summary: str = "",
) -> SessionRow:
    """Insert a session with an id that was never used before. Return its row."""
    session_id = _new_id()
    while tx.one(
        "SELECT 1 FROM sessions WHERE id = ? UNION SELECT 1 FROM purged_ids WHERE id = ?", session_id, session_id
    ):
        session_id = _new_id()
    created = now_micros()
    values: dict[str, object] = {
        "id": session_id,
        "name": name,
        "folded_name": fold_name(name),
        "type": type,
        "agent_id": agent_id,
        "user_id": user_id,
        "place": LISTED,
        "created_at": created,
        "updated_at": created,
        "version": 1,
        "message_count": 0,
        "run_count": 0,
        "summary": summary,
        "metadata": metadata,
        "state": state,
    }
    placeholders = ", ".join("?" * len(values))
    key = tx.insert(f"INSERT INTO sessions ({', '.join(values)}) VALUES ({placeholders})", *values.values())
    index.put_name(tx, key, user_id, name)
    return SessionRow(*(tx.one(f"SELECT {_COLUMNS} FROM sessions WHERE key = ?", key) or ()))


def update(tx: Transaction, session: SessionRow, **columns: Any) -> int:
    """Set columns, increment the version and advance `updated_at`. Return the new version."""
    columns |= {"version": session.version + 1, "updated_at": max(now_micros(), session.updated_at + 1)}
    assignments = ", ".join(f"{column} = ?" for column in columns)
    tx.run(f"UPDATE sessions SET {assignments} WHERE key = ?", *columns.values(), session.key)
    return session.version + 1


def rename(tx: Transaction, index: SearchIndex, session: SessionRow, name: str, **columns: Any) -> int:
    """Rename a session and set further columns. Return the new version."""
    index.put_name(tx, session.key, session.user_id, name)
    return update(tx, session, name=name, folded_name=fold_name(name), **columns)


def plan_restore(session: SessionRow) -> tuple[int, JsonObject, JsonObject, JsonObject, str]:
    """Return the place of the session after restoring, the columns to set, `changed`, `previous` and `note`."""
    if session.place == DELETED:
        if session.archived_at is None:
            return LISTED, {"purge_at": None}, {}, {}, "It was deleted; now it is active again."
        note = "It was deleted; now it is archived again, as before. Restore it once more to make it active."
        return ARCHIVED, {"purge_at": None}, {}, {}, note
    if session.place == ARCHIVED and session.archived_at is not None:
        archived_at = iso(to_datetime(session.archived_at))
        return LISTED, {"archived_at": None}, {"archived_at": ""}, {"archived_at": archived_at}, ""
    return LISTED, {}, {}, {}, "It was active already."
