"""What is done with the row of a session, as statements inside a transaction.

`owner` is the user id a caller is narrowed to, or "" for everybody; it is part of every statement that finds a row.
The others go by the key of a row that was so found in the same transaction, and locked if it is to be changed.
"""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil, floor
from time import time_ns
from typing import Any, NamedTuple

from ... import cursors
from ...errors import Conflict, NotFound, quoted
from ...json_documents import JsonObject
from ...models import (
    Session,
    SessionDetail,
    SessionFilter,
    SessionPage,
    iso,
)
from ...text.validate import plain
from ...text.words import folded
from ..database.database import SearchIndex, Transaction
from ..validation import NAME_LENGTH

LISTED, ARCHIVED, DELETED = range(3)
_MOST_NAMES = 2_000  # looked at in one call: some 0.3 ms for each that is long and full of credentials
_LETTERS = "abcdefghjkmnpqrstuvwxyz"
_ALPHABET = "23456789" + _LETTERS


class Stored(NamedTuple):
    """A row of `sessions`; times are microseconds since 1970, UTC."""

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
            created_at=moment(self.created_at),
            updated_at=moment(self.updated_at),
            archived_at=None if self.archived_at is None else moment(self.archived_at),
            state=json.loads(self.state),
            metadata=json.loads(self.metadata),
            summary=self.summary,
            message_count=self.message_count,
            run_count=self.run_count,
            version=str(self.version),
        )


_STOPPED = f"Stopped after {_MOST_NAMES:,} names; next_cursor goes on behind them."
_COLUMNS = ", ".join(Stored._fields)
_LISTED_COLUMNS = "id, name, type, agent_id, user_id, created_at, updated_at, archived_at, key"


def now() -> int:
    return time_ns() // 1000


def moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)


def _new_id() -> str:
    """Eight characters, at most eight tokens for a model; a letter first, so that none reads as a number."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_ALPHABET) for _ in range(7))


def find(tx: Transaction, owner: str, session_id: str, *, deleted: bool = False) -> Stored:
    """The session with this id, if it is the owner's. Raises `NotFound`; `deleted` finds deleted ones too."""
    plain(session_id, "session_id", NAME_LENGTH)
    row = tx.one(
        f"SELECT {_COLUMNS} FROM sessions WHERE id = ?" + (" AND user_id = ?" if owner else "") + tx.lock,
        *((session_id, owner) if owner else (session_id,)),
    )
    if row is None:
        raise NotFound(f"no session {quoted(session_id)}. list_sessions shows those there are.")
    if bytes in map(type, row):
        raise TypeError("a BLOB")  # which SQLite takes in any column, and the store puts in none
    stored = Stored(*row)
    if stored.purge_at is not None and not deleted:
        until = iso(moment(stored.purge_at))
        raise NotFound(f"session {quoted(session_id)} was deleted. restore_session can bring it back until {until}.")
    return stored


def ids_from(tx: Transaction, owner: str, prefix: str, limit: int) -> list[str]:
    """Return the ids that begin with `prefix` and are not deleted, newest first."""
    id = "id" + tx.bytewise
    # An expression, so that SQLite searches by the id rather than through all of the owner's sessions.
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


def days_from_now(days: int) -> int:
    return now() + days * 86_400_000_000


def is_quick(filter: SessionFilter, owner: str) -> bool:
    """Whether an index alone selects and orders: else a list may have to look at every session."""
    by_created = filter.order.startswith("created")
    ranged = filter.updated_after is not None or filter.updated_before is not None
    return not (filter.query or filter.type or (by_created and ranged) or (filter.agent_id and (owner or by_created)))


def list_page(tx: Transaction, owner: str, filter: SessionFilter, limit: int, cursor: str) -> SessionPage:
    """One page by keyset. Stable while sessions are created; one changed during a walk by update time moves."""
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
    at = datetime.fromtimestamp  # pydantic takes twice as long to make a time of a number
    sessions = [
        {
            "id": id,
            "name": name,
            "type": type,
            "agent_id": agent_id,
            "user_id": user_id,
            "created_at": at(created_at / 1e6, UTC),
            "updated_at": at(updated_at / 1e6, UTC),
            "archived_at": None if archived_at is None else moment(archived_at),
            "cursor": f"{walk}.{position}.{key}",
        }
        for id, name, type, agent_id, user_id, created_at, updated_at, archived_at, key, position in rows[:limit]
    ]
    more = len(rows) > limit
    # The whole page in one validation: a model at a time would take as long again as the statement does.
    return SessionPage.__pydantic_validator__.validate_python(
        {
            "sessions": sessions,
            "next_cursor": sessions[-1]["cursor"] if more else "",
            "total": None if more or cursor else len(sessions),
        }
    )


def named_page(
    tx: Transaction, owner: str, filter: SessionFilter, limit: int, cursor: str, present: Callable[[str], str]
) -> SessionPage:
    """A page of sessions by name. One whose name has the query only in what the caller can't see is as none.

    After so many of those the page ends, however short it is, with a cursor that goes on behind them.
    """
    part = folded(filter.query)
    shown: list[Session] = []
    came_to, looked_at = cursor, 0
    while looked_at < _MOST_NAMES:
        page = list_page(tx, owner, filter, limit + 1, came_to)
        shown += [row for row in page.sessions if part in folded(present(row.name))]
        came_to, looked_at = page.next_cursor, looked_at + len(page.sessions)
        if len(shown) > limit:
            return SessionPage(sessions=tuple(shown[:limit]), next_cursor=shown[limit - 1].cursor)
        if not came_to:
            return SessionPage(sessions=tuple(shown), total=None if cursor else len(shown))
    return SessionPage(sessions=tuple(shown), next_cursor=came_to, note=_STOPPED)


def _selection(owner: str, filter: SessionFilter) -> tuple[list[str], list[object]]:
    asked: dict[str, object] = {"place = ?": ARCHIVED if filter.archived else LISTED}
    if owner:
        asked["user_id = ?"] = owner
    if filter.agent_id:
        asked["agent_id = ?"] = filter.agent_id
    if filter.type:
        asked["type = ?"] = filter.type
    if filter.query:
        name = folded(filter.query).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        asked["folded_name LIKE ? ESCAPE '\\'"] = f"%{name}%"
    # A time is compared as it is shown: to the second.
    if filter.updated_after is not None:
        asked["updated_at >= ?"] = (floor(filter.updated_after.timestamp()) + 1) * 1_000_000
    if filter.updated_before is not None:
        asked["updated_at < ?"] = ceil(filter.updated_before.timestamp()) * 1_000_000
    return list(asked), list(asked.values())


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
) -> Stored:
    """A new session under an id that was never used before."""
    session_id = _new_id()
    while tx.one(
        "SELECT 1 FROM sessions WHERE id = ? UNION SELECT 1 FROM purged_ids WHERE id = ?", session_id, session_id
    ):
        session_id = _new_id()
    created = now()
    values: dict[str, object] = {
        "id": session_id,
        "name": name,
        "folded_name": folded(name),
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
    marks = ", ".join("?" * len(values))
    key = tx.insert(f"INSERT INTO sessions ({', '.join(values)}) VALUES ({marks})", *values.values())
    index.put_name(tx, key, user_id, name)
    return Stored(*(tx.one(f"SELECT {_COLUMNS} FROM sessions WHERE key = ?", key) or ()))


def check_version(stored: Stored, expected: str) -> None:
    """Raise `Conflict` when an expected version is given and is not the session's."""
    if expected and expected != str(stored.version):
        raise Conflict(
            f"session {quoted(stored.id)} is at version {stored.version} now, not {quoted(expected)}. "
            "Read it again with get_session, then repeat the change."
        )


def update(tx: Transaction, stored: Stored, **columns: Any) -> int:
    """Set these columns, and count the change: the new version. Each change is later than the one before."""
    columns |= {"version": stored.version + 1, "updated_at": max(now(), stored.updated_at + 1)}
    assignments = ", ".join(f"{column} = ?" for column in columns)
    tx.run(f"UPDATE sessions SET {assignments} WHERE key = ?", *columns.values(), stored.key)
    return stored.version + 1


def rename(tx: Transaction, index: SearchIndex, stored: Stored, name: str, **columns: Any) -> int:
    index.put_name(tx, stored.key, stored.user_id, name)
    return update(tx, stored, name=name, folded_name=folded(name), **columns)


def restored(stored: Stored) -> tuple[int, JsonObject, JsonObject, JsonObject, str]:
    """Where a session belongs again, the columns to set, what that changes and replaces, and what to say of it."""
    if stored.place == DELETED:
        if stored.archived_at is None:
            return LISTED, {"purge_at": None}, {}, {}, "It was deleted and is back."
        note = "It was deleted and is back in the archive, as before. Restore it once more to make it active."
        return ARCHIVED, {"purge_at": None}, {}, {}, note
    if stored.place == ARCHIVED and stored.archived_at is not None:
        was = iso(moment(stored.archived_at))
        return LISTED, {"archived_at": None}, {"archived_at": ""}, {"archived_at": was}, ""
    return LISTED, {}, {}, {}, "It was active already."
