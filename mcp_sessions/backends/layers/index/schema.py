"""The tables of the index, on SQLite."""

from ...database.schemas import SqliteSchema

_TABLES = """
    CREATE TABLE marks (
        source TEXT NOT NULL,            -- the system that has the sessions
        scope TEXT NOT NULL,             -- the user whose sessions were read, "" for all users
        mark INTEGER NOT NULL,           -- every time: microseconds since 1970, UTC
        swept_at INTEGER NOT NULL,       -- when sessions that are gone were removed
        PRIMARY KEY (source, scope)
    ) WITHOUT ROWID;
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        owner TEXT NOT NULL,
        changed_at INTEGER NOT NULL,     -- as the system said when the session was read
        read_at INTEGER NOT NULL,
        is_readable INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT '',  -- of the session's file, "" for sessions without one
        UNIQUE (source, id)
    );
    CREATE INDEX sessions_unreadable ON sessions (source) WHERE is_readable = 0;
    CREATE TABLE places (
        key INTEGER PRIMARY KEY,         -- of the row in `text_index`; larger ones are searched first
        session_key INTEGER NOT NULL,    -- 0: the text is gone; rows of `text_index` can't be deleted
        part TEXT NOT NULL,              -- name or message
        message_id TEXT NOT NULL,
        digest BLOB NOT NULL,            -- of the text, its owner and, if it is in a file, its time
        origin TEXT NOT NULL,            -- SESSION/MESSAGE of which it is a copy, "" if it is none
        number INTEGER NOT NULL,         -- of a message in its session's file, 0 for other texts
        position TEXT NOT NULL           -- where to read it in the file, "" for other texts
    );
    CREATE INDEX places_session ON places (session_key, number);
    CREATE VIRTUAL TABLE text_index USING fts5 (
        owner, words, content = '', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    );
"""

_EMPTY = """
    DELETE FROM marks;
    DELETE FROM sessions;
    DELETE FROM places;
    INSERT INTO text_index (text_index) VALUES ('delete-all');
"""

_WITHOUT_SIZES = f"""{_EMPTY}
    DROP TABLE text_index;
    CREATE VIRTUAL TABLE text_index USING fts5 (
        owner, words, content = '', columnsize = 0, tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    );
"""
"""Makes the index smaller: only a ranking of texts would need their numbers of words."""

_WITHOUT_AUTOMERGE = "INSERT INTO text_index (text_index, rank) VALUES ('automerge', 0);"
"""Merging is left to `insert_texts`: automerge does nothing for 64 appended messages, and much for the next."""

_STEPS = (
    _TABLES,
    _EMPTY,  # `text_index.owner` had no words for the folder of a session's project
    _WITHOUT_SIZES,  # and a position in a thread of Codex had other numbers
    _WITHOUT_AUTOMERGE,
    _EMPTY,  # names were ordered by the last changes of their sessions
)
SQLITE = SqliteSchema(
    "mcp-sessions index",
    0x6D637069,  # "mcpi"
    _STEPS,
    synchronous="NORMAL",
    cached_statements=16,  # 128 kept 25 MB, since a statement keeps its values, which here are up to 500 rows
)
