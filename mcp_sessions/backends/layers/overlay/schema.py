"""The tables of the overlay's database, on SQLite and on PostgreSQL."""

from ...database.schemas import PostgresSchema, SqliteSchema

_FACTS = """
    CREATE TABLE facts (
        source TEXT NOT NULL,            -- the system that has the session
        identity TEXT NOT NULL,          -- the session, among all that the system ever had
        session_id TEXT NOT NULL,        -- the newest one
        user_id TEXT NOT NULL,
        version {integer} NOT NULL,      -- rises with each change
        archived_at {integer},           -- every time: microseconds since 1970, UTC
        state TEXT,                      -- NULL: none is kept
        metadata TEXT,
        summary TEXT,
        created_at {integer} NOT NULL,
        changed_at {integer} NOT NULL,
        gone_at {integer},               -- when the session was deleted through this server
        PRIMARY KEY (source, identity)
    );
    CREATE INDEX facts_session_id ON facts (source, session_id);
    CREATE INDEX facts_archived ON facts (source, identity, archived_at, gone_at) WHERE archived_at IS NOT NULL;
    CREATE INDEX facts_gone ON facts (gone_at) WHERE gone_at IS NOT NULL
"""
_VERSION_AND_RECEIPTS = """
    CREATE TABLE mcp_sessions_version (version INTEGER NOT NULL);
    INSERT INTO mcp_sessions_version VALUES (0);
    CREATE TABLE receipts (
        holder BIGINT PRIMARY KEY,       -- a connection
        number BIGINT NOT NULL,          -- of its newest change
        used_at BIGINT NOT NULL
    );
"""

SQLITE = SqliteSchema("mcp-sessions overlay", 0x6D63706F, (_FACTS.format(integer="INTEGER"),))  # "mcpo"
POSTGRESQL = PostgresSchema(
    "mcp-sessions overlay", "mcp_sessions_overlay", (_VERSION_AND_RECEIPTS + _FACTS.format(integer="BIGINT"),)
)
