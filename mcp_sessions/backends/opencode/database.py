"""opencode's own database, which is only read, also while opencode writes to it."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from ...errors import SessionsError, Timeout, Unavailable, Unsupported
from ...json_documents import Json, JsonObject, is_object, object_in, text_in
from ..deadline import remaining
from ..http.responses import read_json
from .source import MessageRows, SessionRows, absent_session
from .wire import OpencodeSession, is_session_id, read_session

T = TypeVar("T")

_MAX_TRANSCRIPT_BYTES = 64 * 1024 * 1024
_LOCKED_SECONDS = 2.0
_TRIES = 3
_NEEDED = {
    "session": {"id", "title", "directory", "parent_id", "time_created", "time_updated", "time_archived"},
    "message": {"id", "session_id", "time_created", "data"},
    "part": {"id", "message_id", "data"},
}
"""The columns without which no session can be read. Other columns differ between versions of opencode."""
_COUNT_CHILDREN = """
WITH RECURSIVE family(id) AS (
    SELECT id FROM session WHERE id = ? UNION SELECT session.id FROM session JOIN family ON parent_id = family.id
)
SELECT count(*) - 1 FROM family
"""
_OPTIONAL = ("agent", "metadata", "tokens_input", "tokens_output", "tokens_reasoning")


class OpencodeDatabase:
    """Reads the sessions in a database file. `timeout`: seconds that one read may take."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        self.path = path
        self._timeout = timeout

    async def sessions(self, *, before: int | None, limit: int) -> SessionRows:
        """Return at most `limit` sessions. `OpencodeSource` documents which."""

        def read(connection: sqlite3.Connection) -> SessionRows:
            condition = "parent_id IS NULL AND (:before IS NULL OR time_updated < :before)"
            order = "ORDER BY time_updated DESC LIMIT :limit"
            rows = _session_rows(connection, f"{condition} {order}", {"before": before, "limit": limit + 1})
            found = [read_session(row) for row in rows[:limit] if is_session_id(str(row["id"]))]
            return SessionRows(found, len(rows) <= limit)

        return await self._read(read)

    async def session(self, session_id: str) -> OpencodeSession:
        """Return a session. Raise `NotFound`."""
        return await self._read(lambda connection: _session(connection, session_id))

    async def count_children(self, session_id: str) -> int:
        """Return how many sessions a session started, directly or through others: opencode deletes them with it."""
        return await self._read(lambda connection: connection.execute(_COUNT_CHILDREN, (session_id,)).fetchone()[0])

    async def messages(self, session_id: str) -> MessageRows:
        """Return the messages of a session: all, or as many of the newest as can be read. Raise `NotFound`."""

        def read(connection: sqlite3.Connection) -> MessageRows:
            _session(connection, session_id)
            newest_first = connection.execute(
                "SELECT id, time_created, data FROM message WHERE session_id = ? ORDER BY time_created DESC, id DESC",
                (session_id,),
            )
            rows: list[JsonObject] = []
            size = 0
            for message_id, created, data in newest_first:
                if size >= _MAX_TRANSCRIPT_BYTES:
                    return MessageRows(rows[::-1], is_complete=False, size=size)
                parts = connection.execute("SELECT id, data FROM part WHERE message_id = ? ORDER BY id", (message_id,))
                found = [(part_id, text) for part_id, text in parts]
                info = {"time": {"created": created}, **_document(data), "id": message_id, "sessionID": session_id}
                rows.append({"info": info, "parts": [_document(text) | {"id": part_id} for part_id, text in found]})
                size += sum(len(str(text)) for _, text in [(message_id, data), *found])
            return MessageRows(rows[::-1], is_complete=True, size=size)

        return await self._read(read)

    def running_in(self, directory: str, since: int) -> Sequence[str]:
        """Return the sessions in a folder in which a turn runs that began after a time in milliseconds. Does not wait.

        An older message without an end may come from an opencode that was killed.
        """

        def read(connection: sqlite3.Connection) -> Sequence[str]:
            condition = "directory = :directory AND time_updated >= :since"
            rows = _session_rows(connection, condition, {"directory": directory, "since": since})
            return [str(row["id"]) for row in rows if _is_running(connection, row["id"], since)]

        return self._read_now(read)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `read` on a connection of its own, in a thread."""
        with anyio.move_on_after(remaining(self._timeout)):
            return await run_sync(self._read_now, read, abandon_on_cancel=True)
        raise Timeout(f"opencode's database did not answer within {self._timeout:g} s. Try again.")

    def _read_now(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            for _ in range(_TRIES):
                state = self._state()
                with closing(self._connect(has_log=state[0] is not None)) as connection:
                    _check_columns(connection)
                    result = read(connection)
                if state[0] is not None or self._state() == state:
                    return result
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        raise Unavailable("opencode began to write to its database during the read. Try again.")

    def _connect(self, *, has_log: bool) -> sqlite3.Connection:
        """Open the database. Without a write-ahead log, no program has it open.

        SQLite would then create files beside it, unless the database is declared to be immutable. With a log, SQLite
        would record in the log's index how far it reads, unless the index is opened read-only too. A log that was
        copied without its index can't be read in this way.
        """
        mode = "mode=ro" if has_log else "mode=ro&immutable=1"
        if has_log and self._beside("-shm").exists():
            mode += "&readonly_shm=1"
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True, timeout=_LOCKED_SECONDS)
        connection.text_factory = _decode
        return connection

    def _state(self) -> tuple[int | None, int]:
        """Return the size of the write-ahead log, None if there is none, and when the database was last written."""
        try:
            return _size(self._beside("-wal")), self.path.stat().st_mtime_ns
        except OSError as error:
            raise self._unreadable(error) from error

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name}{ending}")

    def _unreadable(self, error: Exception) -> SessionsError:
        if not self.path.exists():
            return Unavailable("opencode 1.2 or later has not run here: there is no database. Check the backend's URL.")
        return Unavailable(f"opencode's database can't be read ({type(error).__name__}). Check the file.")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _check_columns(connection: sqlite3.Connection) -> None:
    for table, needed in _NEEDED.items():
        if not needed <= _columns(connection, table):
            raise Unsupported(
                f"the table {table} of opencode's database lacks columns of all known versions. "
                "Look for a newer mcp-sessions, or use the URL of a running server."
            )


def _session(connection: sqlite3.Connection, session_id: str) -> OpencodeSession:
    if is_session_id(session_id):
        for row in _session_rows(connection, "id = :id", {"id": session_id}):
            return read_session(row)
    raise absent_session(session_id)


def _is_running(connection: sqlite3.Connection, session_id: Json, since: int) -> bool:
    newest = connection.execute(
        "SELECT data FROM message WHERE session_id = ? AND time_created >= ? "
        "ORDER BY time_created DESC, id DESC LIMIT 1",
        (session_id, since),
    )
    messages = [_document(data) for (data,) in newest]
    return any(
        text_in(message, "role") == "assistant" and not object_in(message, "time").get("completed")
        for message in messages
    )


def _session_rows(
    connection: sqlite3.Connection, condition: str, values: dict[str, int | str | None]
) -> Sequence[JsonObject]:
    """Return the rows that fulfil a condition, in the form of the API's answers."""
    known = _columns(connection, "session")
    names = [*sorted(_NEEDED["session"]), *(name for name in _OPTIONAL if name in known)]
    found = connection.execute(f"SELECT {', '.join(names)} FROM session WHERE {condition}", values)
    return [_as_answer(dict(zip(names, row, strict=True))) for row in found]


def _as_answer(row: dict[str, Json]) -> JsonObject:
    tokens = {name: row.get(f"tokens_{name}") for name in ("input", "output", "reasoning")}
    return {
        "id": row["id"],
        "title": row["title"],
        "directory": row["directory"],
        "parentID": row["parent_id"],
        "agent": row.get("agent"),
        "metadata": _document(row.get("metadata")) or None,
        "tokens": tokens,
        "time": {
            "created": row["time_created"],
            "updated": row["time_updated"],
            "archived": row["time_archived"],
        },
    }


def _document(text: Json) -> JsonObject:
    """Return the JSON object in a column; an empty one for anything else."""
    try:
        value = read_json(text.encode()) if isinstance(text, str) else None
    except SessionsError:
        return {}
    return value if is_object(value) else {}
