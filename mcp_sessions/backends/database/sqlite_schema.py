"""The store's shape on SQLite, as numbered steps: a step's position is its version, and none ever changes."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import Unavailable

APPLICATION_ID = 0x6D637073  # "mcps": marks a file as ours, so that nobody else's database is ever written to

MIGRATIONS = (
    """
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        folded_name TEXT NOT NULL,       -- for finding a part of it in any case
        type TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        place INTEGER NOT NULL,          -- 0 listed, 1 archived, 2 deleted
        created_at INTEGER NOT NULL,     -- every time: microseconds since 1970, UTC
        updated_at INTEGER NOT NULL,
        archived_at INTEGER,
        purge_at INTEGER,                -- of a deleted one: until when it can be restored
        version INTEGER NOT NULL,
        message_count INTEGER NOT NULL,
        run_count INTEGER NOT NULL,
        summary TEXT NOT NULL,
        metadata TEXT NOT NULL,
        state TEXT NOT NULL
    );
    CREATE INDEX sessions_updated ON sessions (place, updated_at, key);
    CREATE INDEX sessions_created ON sessions (place, created_at, key);
    CREATE INDEX sessions_user_updated ON sessions (user_id, place, updated_at, key);
    CREATE INDEX sessions_user_created ON sessions (user_id, place, created_at, key);
    CREATE INDEX sessions_agent_updated ON sessions (agent_id, place, updated_at, key);
    CREATE INDEX sessions_purge ON sessions (purge_at) WHERE purge_at IS NOT NULL;
    CREATE TABLE messages (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        session_key INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        number INTEGER NOT NULL,         -- 1, 2, 3 … within its session
        run INTEGER NOT NULL,            -- never falls as number rises
        role TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        tool_name TEXT NOT NULL,
        tool_calls TEXT NOT NULL,
        attachments TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE UNIQUE INDEX messages_number ON messages (session_key, number);
    CREATE INDEX messages_run ON messages (session_key, run);
    CREATE TABLE purged_ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE VIRTUAL TABLE name_index USING fts5 (
        owner, words, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    );
    CREATE VIRTUAL TABLE message_index USING fts5 (
        owner, words, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    );
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest shape, in one transaction; many processes may try at once.

    Raises `Unavailable`, with the file untouched, when it is newer than this program or not a session store.
    """
    with transaction(connection, "BEGIN"):
        if made_version(connection) == len(MIGRATIONS):
            return
    with transaction(connection, "BEGIN IMMEDIATE"):
        for step in MIGRATIONS[made_version(connection) :]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def require_file(path: str) -> None:
    """Raise `Unavailable` where none is."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unavailable(
            "there is no such file. Name one with a session store; an absolute path has four slashes, "
            "as in sqlite:////srv/sessions.db."
        ) from error
    except OSError:
        pass  # SQLite will say what is wrong with it


def require_made(connection: sqlite3.Connection) -> None:
    """Raise `Unavailable` unless a file holds a store of the newest shape."""
    with transaction(connection, "BEGIN"):
        version, application = made_version(connection), _pragma(connection, "application_id")
    if not application:
        raise Unavailable("there is no session store in this file, which is empty. Name one that has one.")
    if version < len(MIGRATIONS):
        raise Unavailable(
            f"the store was made by an older mcp-sessions (its version {version}, known here {len(MIGRATIONS)}). "
            "Let this one serve it once, which brings it up to date."
        )


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """Committed at the end; rolled back if something fails, unless SQLite did so itself."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def made_version(connection: sqlite3.Connection) -> int:
    """0 for an empty file. Inside a transaction, so that all it looks at is of one moment.

    Raises `Unavailable` for a file that is newer than this program, or no session store.
    """
    version, application = _pragma(connection, "user_version"), _pragma(connection, "application_id")
    is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application == APPLICATION_ID:
        if version > len(MIGRATIONS):
            raise Unavailable(
                f"the store was made by a newer mcp-sessions (its version {version}, known here {len(MIGRATIONS)}). "
                "Upgrade mcp-sessions; the file was not touched."
            )
        if is_empty != (version == 0) or version < 0:
            raise Unavailable(
                "the store's file is marked as a session store and is none, so something else changed it; it was not "
                "touched. Restore it from a copy or name another."
            )
        return version
    if version or application or not is_empty:
        raise Unavailable("the SQLite file holds something else than sessions; it was not touched. Name another file.")
    return 0


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
