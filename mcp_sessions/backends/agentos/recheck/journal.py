"""The journal of pending writes: a small SQLite file, so that pending writes survive a restart of this server."""

import json
import logging
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

from ....json_documents import Json
from ...write_access import write_problem
from .values import OldValue, PendingValue

logger = logging.getLogger(__name__)

PENDING_SECONDS = 600
"""How long a write stays pending: longer than nearly all runs last."""
_OVERDUE_SECONDS = 3600
"""For how long after that time an overdue check is still made, in case no server was running when it was due."""
_LOCKED_SECONDS = 1.0
"""How long a statement waits for another process that locks the journal."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
    server TEXT, session_id TEXT, owner TEXT, values_held TEXT, since REAL, due REAL, rewritten INTEGER,
    guessed INTEGER, progress TEXT, born TEXT,
    PRIMARY KEY (server, session_id)
)
"""
_COLUMNS = "session_id, owner, values_held, since, rewritten, guessed, progress, born"


@dataclass(frozen=True)
class PendingWrite:
    """The values that we wrote to a session and that a finishing run may overwrite."""

    session_id: str
    owner: str
    values: Sequence[PendingValue]
    written_at: float
    """When we last wrote to the session on a caller's behalf, in seconds since 1970."""
    rewrite_count: int = 0
    """How often our values were written again."""
    guess_count: int = 0
    """How many of those rewrites had no evidence that a run had ended."""
    run_progress: str = ""
    """`AgentOsSession.run_progress` when the session was last seen with our values."""
    identity: str = ""
    """`AgentOsSession.identity`: another session may get the same id later."""

    @property
    def is_expired(self) -> bool:
        """Whether the write was made more than `PENDING_SECONDS` ago."""
        return time() > self.written_at + PENDING_SECONDS


class Journal:
    """The pending writes to one server, in a SQLite connection that the caller closes.

    Several processes may share the file; `claim_due` gives each check to one of them.
    """

    def __init__(self, connection: sqlite3.Connection, server: str) -> None:
        self._connection = connection
        self._server = server

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Begin a transaction that keeps other processes from writing; commit it, or roll it back after an error."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def get(self, session_id: str) -> PendingWrite | None:
        """Return the pending write to a session, or None."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM held WHERE server = ? AND session_id = ?", (self._server, session_id)
        ).fetchone()
        return _read_row(row) if row else None

    def put(self, pending: PendingWrite, due: float) -> None:
        """Store a pending write in place of the session's earlier one, to be checked at `due` (seconds since 1970)."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO held (server, due, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._server, due, pending.session_id, pending.owner, _values_json(pending), pending.written_at),
                *(pending.rewrite_count, pending.guess_count, pending.run_progress, pending.identity),
            ),
        )

    def delete(self, session_id: str) -> None:
        """Delete the pending write to a session."""
        self._connection.execute("DELETE FROM held WHERE server = ? AND session_id = ?", (self._server, session_id))

    def next_due(self) -> float | None:
        """Return when the next check is due, in seconds since 1970; None if no write is pending."""
        row = self._connection.execute("SELECT min(due) FROM held WHERE server = ?", (self._server,)).fetchone()
        return row[0]

    def claim_due(self) -> list[PendingWrite]:
        """Return the pending writes that are due, and postpone them, so that no other process checks them too.

        Delete those that have been overdue for too long.
        """
        now = time()
        oldest, newest = now - PENDING_SECONDS - _OVERDUE_SECONDS, now + 60  # a clock may have been set back
        self._connection.execute("DELETE FROM held WHERE since NOT BETWEEN ? AND ?", (oldest, newest))
        rows = self._connection.execute(
            f"SELECT {_COLUMNS}, due FROM held WHERE server = ? AND due <= ?", (self._server, now)
        ).fetchall()
        claimed: list[PendingWrite] = []
        for *row, due in rows:
            pending = _read_row(row)
            if pending is None:
                self.delete(row[0])
                continue
            postponed = self._connection.execute(
                "UPDATE held SET due = ? WHERE server = ? AND session_id = ? AND due = ?",
                (next_check_time(pending.written_at, now), self._server, pending.session_id, due),
            )
            claimed += [pending] if postponed.rowcount else []
        return claimed


def next_check_time(since: float, now: float) -> float:
    """Return when to check next, at growing intervals: some 25 checks in all.

    The end of a run is noticed within a third of the time that the run took.
    """
    return now + min(max((now - since) / 3, 1), 60)


def _values_json(pending: PendingWrite) -> str:
    return json.dumps(
        [[item.path, item.new, _old_values_json(item.old_values), item.written_at] for item in pending.values]
    )


def _old_values_json(old_values: Sequence[OldValue]) -> Any:
    return [[old.value, [[path, _old_values_json(inner)] for path, inner in old.inner]] for old in old_values]


def _read_old_values(data: Any) -> tuple[OldValue, ...]:
    return tuple(
        OldValue(tuple(value), tuple((_read_path(path), _read_old_values(old_values)) for path, old_values in inner))
        for value, inner in data
    )


def _read_path(data: Any) -> tuple[str, ...]:
    if not data or not all(isinstance(key, str) for key in data):
        raise ValueError("no path")
    return tuple(data)


def _read_row(row: Sequence[object]) -> PendingWrite | None:
    """Return the pending write of a row, or None if the row is malformed: other programs can write to the file."""
    session_id, owner, text, since, rewritten, guessed, progress, born = row
    try:
        values: list[tuple[list[str], list[Json], Any, float]] = json.loads(str(text))
        return PendingWrite(
            session_id=str(session_id),
            owner=str(owner),
            values=[
                PendingValue(_read_path(path), tuple(new), _read_old_values(old_values), written_at)
                for path, new, old_values, written_at in values
            ],
            written_at=float(str(since)),
            rewrite_count=int(str(rewritten)),
            guess_count=int(str(guessed)),
            run_progress=str(progress),
            identity=str(born),
        )
    except (TypeError, ValueError, RecursionError):
        return None


def open_journal(folder: Path) -> sqlite3.Connection:
    """Open the journal's file, readable by this user alone, or a journal in memory if the file can't be used."""
    problem = journal_problem(folder)
    if not problem:
        path = _path(folder)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            return _connect(str(path))
        except (OSError, sqlite3.Error) as error:
            problem = _problem(path, str(error))
    logger.warning("%s.", problem)
    return _connect(":memory:")


def journal_problem(folder: Path) -> str:
    """Return a sentence without its full stop if this user can't write to the journal's file or folder, else ""."""
    path = _path(folder)
    reason = write_problem(folder) or write_problem(path)  # SQLite creates files beside its own
    return _problem(path, reason) if reason else ""


def _path(folder: Path) -> Path:
    return folder / "agentos.db"


def _problem(path: Path, reason: str) -> str:
    return f"Can't keep a journal of changes at {path} ({reason}), so a restart forgets them"


def _connect(database: str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=_LOCKED_SECONDS, isolation_level=None)
    try:
        # Losing the journal when the machine crashes is acceptable, so no write waits for the disk.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        connection.execute(f"SELECT server, due, {_COLUMNS} FROM held LIMIT 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
