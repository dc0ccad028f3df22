"""The facts that the overlay keeps of a session, and the statements on their rows, to be run inside a transaction.

A row belongs to a session of a system: `source` names the system, `identity` the session. Call these functions with
a session that the system has just returned to the caller: that is what keeps users apart.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from ....errors import BadResponse, quoted
from ....json_documents import JsonObject, is_object, merge_patch
from ....models import Session, SessionDetail, iso
from ...capability import OVERLAY_FIELDS
from ...database.database import Transaction
from ...database.times import MICROS_PER_DAY, now_micros, to_datetime, to_micros
from ...validation import json_text

T = TypeVar("T")
_PURGED_AT_ONCE = 100  # rows in one transaction, so that other changes don't wait long


class OverlayFacts(NamedTuple):
    """A row of the table `facts`, without its source. None means not set."""

    identity: str
    session_id: str
    user_id: str
    version: int
    archived_at: int | None
    state: JsonObject | None
    metadata: JsonObject | None
    summary: str | None
    gone_at: int | None

    def full_version(self, version: str) -> str:
        """Return the version of the session, given its version in the system.

        In a system without versions, a hash of the session's identity tells it from an earlier session with its id.
        """
        return f"{version or sha256(self.identity.encode()).hexdigest()[:8]}+{self.version}"

    def values(self, kept: frozenset[str]) -> dict[str, Any]:
        """Return the values of those fields that are kept, as a `SessionDetail` has them."""
        archived_at = None if self.archived_at is None else _time(self.archived_at)
        values = dict(zip(OVERLAY_FIELDS, (archived_at, self.state, self.metadata, self.summary), strict=True))
        return {name: value for name, value in values.items() if value is not None and name in kept}


class FactsRow(NamedTuple):
    """A row of the table `facts`: what can be read of it, and the names of its damaged values."""

    source: str
    facts: OverlayFacts
    damaged: Sequence[str]


_COLUMNS = ", ".join(OverlayFacts._fields)


def session_identity(session: Session) -> str:
    """Return what identifies the session permanently. A later session with the same id has another identity."""
    if session.lasting_id:
        return _storable(session.lasting_id)
    created = f"@{session.created_at.timestamp():.0f}" if session.created_at else ""
    return _storable(session.id) + created


def empty_row(session: Session) -> OverlayFacts:
    """Return the facts of a session of which nothing is kept."""
    session_id, user_id = _storable(session.id), _storable(session.user_id)
    return OverlayFacts(session_identity(session), session_id, user_id, 0, None, None, None, None, None)


def show(session: SessionDetail, facts: OverlayFacts, kept: frozenset[str]) -> SessionDetail:
    """Return the session with the facts."""
    values = facts.values(kept)
    if session.system_metadata and "metadata" in values:
        native = {key: session.metadata.get(key) for key in session.system_metadata}
        values["metadata"] = merge_patch(values["metadata"], native)
    update = {"version": facts.full_version(session.version), "kept_by_overlay": tuple(values)}
    return session.model_copy(update=values | update)


def find(tx: Transaction, source: str, session: Session) -> OverlayFacts:
    """Return what is kept about a session."""
    row = tx.one(f"SELECT {_COLUMNS} FROM facts WHERE source = ? AND identity = ?", source, session_identity(session))
    return _facts(row) if row else empty_row(session)


def lock_or_create(tx: Transaction, source: str, new: OverlayFacts) -> OverlayFacts:
    """Return what is kept about a session, for changing it in this transaction. Create its row if there is none.

    `new`: the row to create.
    """
    now = now_micros()
    row = None
    while row is None:  # again if the row was purged between the two statements
        # Inserted first, so that of two transactions that find no row, one waits for the other.
        tx.run(
            "INSERT INTO facts (source, identity, session_id, user_id, version, created_at, changed_at)"
            " VALUES (?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
            *(source, new.identity, new.session_id, new.user_id, now, now),
        )
        row = tx.one(f"SELECT {_COLUMNS} FROM facts WHERE source = ? AND identity = ?{tx.lock}", source, new.identity)
    return _facts(row)


def lock_session(tx: Transaction, source: str, session: Session) -> OverlayFacts:
    """Return what is kept about a session that the system has, for changing it, with the id that it has now."""
    new = empty_row(session)
    facts = lock_or_create(tx, source, new)
    return facts._replace(session_id=new.session_id, user_id=new.user_id or facts.user_id, gone_at=None)


def write(tx: Transaction, source: str, facts: OverlayFacts, values: Mapping[str, Any]) -> int:
    """Set fields of a locked row. None removes a field. Return the new version."""
    columns = {name: _stored(name, value) for name, value in values.items()}
    columns |= {"session_id": facts.session_id, "user_id": facts.user_id, "gone_at": facts.gone_at}
    columns |= {"version": facts.version + 1, "changed_at": now_micros()}
    assignments = ", ".join(f"{column} = ?" for column in columns)
    tx.run(
        f"UPDATE facts SET {assignments} WHERE source = ? AND identity = ?", *columns.values(), source, facts.identity
    )
    return facts.version + 1


def mark_gone(tx: Transaction, source: str, facts: OverlayFacts) -> None:
    """Record that a session was deleted."""
    tx.run(
        "UPDATE facts SET gone_at = ? WHERE source = ? AND identity = ? AND gone_at IS NULL",
        *(now_micros(), source, facts.identity),
    )


def mark_found(tx: Transaction, source: str, sessions: Sequence[Session]) -> None:
    """Record that the system has these sessions, each with its id."""
    for session in sessions:
        tx.run(
            "UPDATE facts SET session_id = ?, gone_at = NULL WHERE source = ? AND identity = ?",
            *(_storable(session.id), source, session_identity(session)),
        )


def has_any(tx: Transaction, source: str) -> bool:
    """Return whether anything is kept about a system's sessions."""
    return tx.one("SELECT 1 FROM facts WHERE source = ? LIMIT 1", source) is not None


def has_archived(tx: Transaction, source: str) -> bool:
    """Return whether any session of a system was archived here, even if it is gone."""
    return tx.one("SELECT 1 FROM facts WHERE source = ? AND archived_at IS NOT NULL LIMIT 1", source) is not None


def archived_identities(tx: Transaction, source: str, limit: int) -> set[str]:
    """Return the identities of up to `limit` sessions of a system that are archived here, even of those marked gone."""
    rows = tx.all("SELECT identity FROM facts WHERE source = ? AND archived_at IS NOT NULL LIMIT ?", source, limit)
    return {identity for (identity,) in rows}


def count(tx: Transaction, source: str) -> tuple[int, int]:
    """Return how many sessions of a system have facts, and how many of these are gone."""
    ((all_count, gone_count),) = tx.all("SELECT count(*), count(gone_at) FROM facts WHERE source = ?", source)
    return all_count, gone_count


def archived_among(
    tx: Transaction, source: str, sessions: Sequence[Session]
) -> tuple[dict[str, datetime], Sequence[Session]]:
    """Return the times of archiving in the overlay, by identity, and the sessions that are marked as gone."""
    if not sessions:
        return {}, ()  # PostgreSQL refuses `IN ()`
    identities = [session_identity(session) for session in sessions]
    rows = tx.all(
        "SELECT identity, archived_at, gone_at FROM facts WHERE source = ? AND archived_at IS NOT NULL"
        f" AND identity IN ({', '.join('?' * len(identities))})",
        *(source, *identities),
    )
    gone = {identity for identity, _, gone_at in rows if gone_at is not None}
    times = {identity: _time(archived_at) for identity, archived_at, _ in rows}
    return times, [session for session in sessions if session_identity(session) in gone]


def all_archived(tx: Transaction, source: str) -> dict[str, datetime]:
    """Return when each session of a system was archived here, by identity."""
    rows = tx.all("SELECT identity, archived_at FROM facts WHERE source = ? AND archived_at IS NOT NULL", source)
    return {identity: _time(archived_at) for identity, archived_at in rows}


def page(tx: Transaction, after: tuple[str, str], limit: int) -> list[FactsRow]:
    """Return the next rows of all systems, in the order of source and identity."""
    rows = tx.all(
        f"SELECT source, {_COLUMNS} FROM facts WHERE source > ? OR (source = ? AND identity > ?)"
        " ORDER BY source, identity LIMIT ?",
        *(after[0], after[0], after[1], limit),
    )
    return [FactsRow(source, *_readable(row)) for source, *row in rows]


def purge(tx: Transaction, keep_days: int) -> bool:
    """Delete some facts of sessions that have been gone for longer than `keep_days`. Return whether there were any."""
    # A row that another transaction has locked is being deleted there, or its session was found again.
    lock = f"{tx.lock} SKIP LOCKED" if tx.lock else ""
    rows = tx.all(
        f"SELECT source, identity FROM facts WHERE gone_at < ? LIMIT {_PURGED_AT_ONCE}{lock}",
        now_micros() - keep_days * MICROS_PER_DAY,
    )
    for row in rows:
        tx.run("DELETE FROM facts WHERE source = ? AND identity = ?", *row)
    return bool(rows)


def shown_value(name: str, value: Any) -> Any:
    """Return a field's value as a `Change` has it."""
    if name == "archived_at":
        return iso(value) if value else ""
    return value


def _stored(name: str, value: Any) -> object:
    if name in ("state", "metadata") and value is not None:
        return json_text(value, name)
    return to_micros(value) if isinstance(value, datetime) else value


def _facts(row: Sequence[Any]) -> OverlayFacts:
    facts, damaged = _readable(row)
    if damaged:
        raise BadResponse(
            f"its values of session {quoted(facts.session_id)} are damaged. Restore the overlay from a backup."
        )
    return facts


def _readable(row: Sequence[Any]) -> tuple[OverlayFacts, list[str]]:
    """Return a row without its damaged values, and their names."""
    facts, damaged = OverlayFacts(*row), list[str]()
    values: JsonObject = {}
    for name, read in _READERS.items():
        try:
            values[name] = None if (value := getattr(facts, name)) is None else read(value)
        except (ValueError, TypeError, RecursionError):
            values[name] = None
            damaged.append(name)
    return facts._replace(**values), damaged


def _instance(type: type[T]) -> Callable[[Any], T]:
    def read(value: Any) -> T:
        if not isinstance(value, type):
            raise TypeError
        return value

    return read


def _object(text: Any) -> JsonObject:
    value = json.loads(text)
    if not is_object(value):
        raise TypeError("not an object")
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "archived_at": _instance(int),
    "state": _object,
    "metadata": _object,
    "summary": _instance(str),
    "gone_at": _instance(int),
}
"""Functions that read a field of a row, and raise an error for a damaged value: a SQLite file may have any value."""


def _storable(text: str) -> str:
    """Return a text of a system as a database can store it, without half surrogate pairs and zero bytes."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _time(micros: Any) -> datetime:
    """Return the time, or the nearest one that Python has: a damaged time must not keep other sessions from a list."""
    try:
        return to_datetime(micros)
    except (ValueError, TypeError, OverflowError, OSError):
        is_late = isinstance(micros, int) and micros > 0
        return (datetime.max if is_late else datetime.min).replace(tzinfo=UTC)
