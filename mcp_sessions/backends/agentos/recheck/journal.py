"""The journal of changes that are held: a small file of ours, so that a restart forgets none."""

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
from .values import Held, Old

logger = logging.getLogger(__name__)

HOLD_SECONDS = 600
"""How long a change is held after it was made: longer than all but few runs last."""
_AFTERWARDS_SECONDS = 3600
"""For how long after that a check that could not be made, since nobody was running, still is."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
    server TEXT, session_id TEXT, owner TEXT, values_held TEXT, since REAL, due REAL, rewritten INTEGER,
    guessed INTEGER, progress TEXT, born TEXT,
    PRIMARY KEY (server, session_id)
)
"""
_COLUMNS = "session_id, owner, values_held, since, rewritten, guessed, progress, born"


@dataclass(frozen=True)
class Entry:
    """A session's held changes; times are seconds since 1970."""

    session_id: str
    owner: str
    held: Sequence[Held]
    since: float
    rewritten: int = 0
    guessed: int = 0
    """How often that was done although nothing showed that a run had ended."""
    progress: str = ""
    """How far the session's runs had come when its changes were last seen to hold."""
    born: str = ""
    """Which session it is: its id may come to be another's."""

    @property
    def is_over(self) -> bool:
        return time() > self.since + HOLD_SECONDS


class Journal:
    """What is held at one server, which its opener closes. Processes may share the file; one claims each check."""

    def __init__(self, connection: sqlite3.Connection, server: str) -> None:
        self._connection = connection
        self._server = server

    @contextmanager
    def alone(self) -> Generator[None]:
        """Nobody else writes meanwhile."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def entry(self, session_id: str) -> Entry | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM held WHERE server = ? AND session_id = ?", (self._server, session_id)
        ).fetchone()
        return _entry(row) if row else None

    def put(self, entry: Entry, due: float) -> None:
        """Hold this of the session, and nothing else."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO held (server, due, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(self._server, due, entry.session_id, entry.owner, _text(entry), entry.since, entry.rewritten),
                *(entry.guessed, entry.progress, entry.born),
            ),
        )

    def drop(self, session_id: str) -> None:
        self._connection.execute("DELETE FROM held WHERE server = ? AND session_id = ?", (self._server, session_id))

    def next_due(self) -> float | None:
        row = self._connection.execute("SELECT min(due) FROM held WHERE server = ?", (self._server,)).fetchone()
        return row[0]

    def claim_due(self) -> list[Entry]:
        """Those to be checked now, put off for others meanwhile. What was over long ago is dropped."""
        now = time()
        oldest, newest = now - HOLD_SECONDS - _AFTERWARDS_SECONDS, now + 60  # a clock may have been set back
        self._connection.execute("DELETE FROM held WHERE since NOT BETWEEN ? AND ?", (oldest, newest))
        rows = self._connection.execute(
            f"SELECT {_COLUMNS}, due FROM held WHERE server = ? AND due <= ?", (self._server, now)
        ).fetchall()
        claimed: list[Entry] = []
        for *row, due in rows:
            entry = _entry(row)
            if entry is None:
                self.drop(row[0])
                continue
            put_off = self._connection.execute(
                "UPDATE held SET due = ? WHERE server = ? AND session_id = ? AND due = ?",
                (next_check(entry.since, now), self._server, entry.session_id, due),
            )
            claimed += [entry] if put_off.rowcount else []
        return claimed


def next_check(since: float, now: float) -> float:
    """Later and later, so that a run's end is noticed within a third of the time it took: some 25 checks in all."""
    return now + min(max((now - since) / 3, 1), 60)


def _text(entry: Entry) -> str:
    return json.dumps([[item.path, item.new, _plain(item.olds), item.since] for item in entry.held])


def _plain(olds: Sequence[Old]) -> Any:
    return [[old.value, [[path, _plain(inside)] for path, inside in old.inside]] for old in olds]


def _olds(plain: Any) -> tuple[Old, ...]:
    return tuple(
        Old(tuple(value), tuple((_path(path), _olds(olds)) for path, olds in inside)) for value, inside in plain
    )


def _path(plain: Any) -> tuple[str, ...]:
    if not plain or not all(isinstance(key, str) for key in plain):
        raise ValueError("no path")
    return tuple(plain)


def _entry(row: Sequence[object]) -> Entry | None:
    """None for a row that something else has written."""
    session_id, owner, text, since, rewritten, guessed, progress, born = row
    try:
        held: list[tuple[list[str], list[Json], Any, float]] = json.loads(str(text))
        return Entry(
            session_id=str(session_id),
            owner=str(owner),
            held=[Held(_path(path), tuple(new), _olds(olds), set_at) for path, new, olds, set_at in held],
            since=float(str(since)),
            rewritten=int(str(rewritten)),
            guessed=int(str(guessed)),
            progress=str(progress),
            born=str(born),
        )
    except (TypeError, ValueError, RecursionError):
        return None


def open_journal(folder: Path) -> sqlite3.Connection:
    """Its file, readable by this user alone; where there can't be one, a journal that lasts as long as the process."""
    path = folder / "agentos.db"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        return _connected(str(path))
    except (OSError, sqlite3.Error) as error:
        logger.warning("No journal of changes can be kept at %s (%s): a restart forgets them.", path, error)
        return _connected(":memory:")


def _connected(database: str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=1, isolation_level=None)
    try:
        # It is ours and small, and holds what can be lost with the machine: no change waits for the disk.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_SCHEMA)
        connection.execute(f"SELECT server, due, {_COLUMNS} FROM held LIMIT 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
