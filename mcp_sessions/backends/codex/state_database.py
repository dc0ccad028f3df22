"""Codex's database of threads, of which only `threads` is read.

It has what the threads' files lack: the names of paginated threads, and when threads were changed or archived.
Different versions of Codex have different columns. Nothing is changed: not even the files that SQLite keeps beside the
database, which an ordinary connection would write to.
"""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

_NAME = "state_5.sqlite"
_TEXTS = {
    "path": ("rollout_path",),
    "name": ("name",),
    "preview": ("preview", "first_user_message", "title"),
    "mode": ("history_mode",),
    "project": ("cwd",),
    "branch": ("git_branch",),
}
_NUMBERS = {
    "created": ("created_at_ms", "created_at * 1000"),
    "updated": ("updated_at_ms", "updated_at * 1000"),
    "archived": ("archived_at * 1000",),
    "tokens": ("tokens_used",),
}
"""field of a row → the expressions for it. The first one that has a value in this version of the database counts."""
_MOST_BYTES = 256 * 1024 * 1024
_DAMAGED = "Codex's database can't be read, so names of sessions and times of changes may be missing."


class StateRow(NamedTuple):
    """What the database says of a thread. Times are in milliseconds since 1970, 0 if they aren't known."""

    path: str
    name: str
    preview: str
    mode: str
    project: str
    branch: str
    created: int
    updated: int
    archived: int
    tokens: int


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """The threads in the database, by id. `note` says why there are none, "" if the database was read."""

    rows: Mapping[str, StateRow] = field(default_factory=dict[str, StateRow])
    note: str = ""


_Files = tuple[tuple[int, int, int], ...]
"""Inode, size and change time of the database and of its write-ahead log."""


class StateDatabase:
    """The database in a home of Codex. It is read again only after it has changed."""

    def __init__(self, home: Path) -> None:
        self.path = home / _NAME
        self._log = home / f"{_NAME}-wal"
        self._known: tuple[_Files, StateSnapshot] | None = None

    def read(self, stops_at: float) -> StateSnapshot:
        """Return the threads. A database that is missing, damaged or locked has none."""
        state = StateSnapshot()
        for _ in range(3):
            files, known = self._files(), self._known
            if known is not None and known[0] == files:
                return known[1]
            state = self._read(stops_at)
            if self._files() == files:  # else a part of it may have been read before a change, and a part after it
                if not state.note:
                    self._known = files, state
                break
        return state

    def _files(self) -> _Files:
        found: list[tuple[int, int, int]] = []
        for path in (self.path, self._log):
            try:
                stat = path.stat()
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

    def _read(self, stops_at: float) -> StateSnapshot:
        try:
            with self._connection() as connection:
                connection.set_progress_handler(lambda: time.monotonic() > stops_at, 10_000)
                try:
                    return StateSnapshot(_rows(connection))
                except sqlite3.OperationalError:  # a text may not be UTF-8, and decoding in Python takes much longer
                    connection.text_factory = _decoded
                    return StateSnapshot(_rows(connection))
        except FileNotFoundError:
            return StateSnapshot()  # before version 0.120, or with another folder for the database
        except (sqlite3.Error, OSError, ValueError):
            return StateSnapshot(note=_DAMAGED)

    @contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """Open the database without changing any file.

        A database without a log is opened as immutable, since SQLite would create a log otherwise. SQLite needs the
        index of an existing log, and must not write to it. So if Codex left a log without an index, copies of the files
        are opened.
        """
        if not self.path.is_file() or self.path.is_symlink():
            raise FileNotFoundError
        index = self.path.with_name(f"{_NAME}-shm")
        if not self._log.exists() or not self._log.stat().st_size:
            with _open(self.path, "immutable=1") as connection:
                yield connection
        elif index.exists():
            with _open(self.path, "mode=ro&readonly_shm=1") as connection:
                yield connection
        else:
            with tempfile.TemporaryDirectory() as folder:
                for path in (self.path, self._log):
                    if path.stat().st_size > _MOST_BYTES:
                        raise ValueError
                    shutil.copyfile(path, Path(folder, path.name))
                with _open(Path(folder, _NAME), "mode=rw") as connection:
                    yield connection


@contextmanager
def _open(path: Path, options: str) -> Generator[sqlite3.Connection]:
    # The path may have characters that are special in a URL, and SQLite needs a slash before a drive's letter.
    url = f"file:{quote(path.absolute().as_posix())}?{options}"
    with closing(sqlite3.connect(url, uri=True, timeout=1)) as connection:
        yield connection


def _rows(connection: sqlite3.Connection) -> Mapping[str, StateRow]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(threads)")}
    if not columns >= {"id", "rollout_path"}:
        return {}
    texts = [_first("text", "''", expressions, columns) for expressions in _TEXTS.values()]
    numbers = [_first("integer", "0", expressions, columns) for expressions in _NUMBERS.values()]
    rows = connection.execute(f"SELECT id, {', '.join((*texts, *numbers))} FROM threads WHERE typeof(id) = 'text'")
    return {row[0]: StateRow._make(row[1:]) for row in rows}


def _first(type: str, empty: str, expressions: Sequence[str], columns: set[str]) -> str:
    """Return an expression for the first of these that has a value of a type. Texts are cut, and numbers limited."""
    result = empty
    for expression in reversed(expressions):
        if expression.partition(" ")[0] in columns:
            is_value = f"{expression} BETWEEN 1 AND 9007199254740991" if type == "integer" else f"{expression} <> ''"
            value = expression if type == "integer" else f"substr({expression}, 1, 4096)"
            result = f"CASE WHEN typeof({expression}) = '{type}' AND {is_value} THEN {value} ELSE {result} END"
    return result


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")
