"""Store files seen from outside: what they hold, and whether they are whole."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend


def opened(path: Path, *, timeout: float = 25, keep_deleted: int = 30) -> SessionBackend:
    """Return the store in a file, which the caller opens."""
    return open_backend(f"sqlite:///{path}", timeout=timeout, keep_deleted=keep_deleted)


@contextmanager
def connected(path: Path) -> Generator[sqlite3.Connection]:
    """Yield a connection of another program, in autocommit mode."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=25)) as connection:
        yield connection


def dump(path: Path) -> list[str]:
    """Return the content of a file as SQL."""
    with connected(path) as connection:
        return list(connection.iterdump())


def shape(path: Path) -> dict[str, str]:
    """Return the SQL that made each table and index, without its indentation."""
    with connected(path) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: " ".join(sql.split()) for name, sql in made}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder, byte for byte. No store in it may be open: closing a file drops SQLite's locks."""
    return {inside.name: inside.read_bytes() for inside in folder.iterdir()}


def assert_whole(path: Path) -> None:
    """Run SQLite's own checks: of the file, of references between rows, and of the search index against its texts."""
    with connected(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for index in ("message_index", "name_index"):
            connection.execute(f"INSERT INTO {index} ({index}) VALUES ('integrity-check')")
        missing = "SELECT count(*) FROM {0} WHERE {1} AND key NOT IN (SELECT rowid FROM {2})"
        strange = "SELECT count(*) FROM {2} WHERE rowid NOT IN (SELECT key FROM {0})"
        for names in (("messages", "true", "message_index"), ("sessions", "name <> ''", "name_index")):
            for statement in (missing, strange):
                assert connection.execute(statement.format(*names)).fetchone() == (0,)
