"""opencode's database: its tables, and rows of sessions for it."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from mcp_sessions.json_documents import JsonObject

from .fakes.opencode.seeds import SeededSession

_SCHEMA = """
CREATE TABLE project (
    id text PRIMARY KEY, worktree text NOT NULL, time_created integer NOT NULL, time_updated integer NOT NULL,
    sandboxes text NOT NULL
);
CREATE TABLE session (
    id text PRIMARY KEY, project_id text NOT NULL, parent_id text, slug text NOT NULL, directory text NOT NULL,
    title text NOT NULL, version text NOT NULL, metadata text, agent text, tokens_input integer DEFAULT 0 NOT NULL,
    tokens_output integer DEFAULT 0 NOT NULL, tokens_reasoning integer DEFAULT 0 NOT NULL,
    time_created integer NOT NULL, time_updated integer NOT NULL, time_archived integer
);
CREATE TABLE message (
    id text PRIMARY KEY, session_id text NOT NULL, time_created integer NOT NULL, time_updated integer NOT NULL,
    data text NOT NULL
);
CREATE TABLE part (
    id text PRIMARY KEY, message_id text NOT NULL, session_id text NOT NULL, time_created integer NOT NULL,
    time_updated integer NOT NULL, data text NOT NULL
);
CREATE INDEX message_session_time_created_id_idx ON message (session_id, time_created, id);
CREATE INDEX part_message_id_id_idx ON part (message_id, id);
"""
"""The part of the tables of opencode 1.18.33 that is read."""


def create(path: Path) -> sqlite3.Connection:
    """Return a connection to a new database, which has a write-ahead log while the connection is open."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_SCHEMA)
    return connection


def insert(connection: sqlite3.Connection, *seeds: SeededSession) -> list[str]:
    """Insert sessions, and return their ids."""
    connection.execute(
        "INSERT OR IGNORE INTO project (id, worktree, time_created, time_updated, sandboxes) "
        "VALUES ('global', '/', 0, 0, '[]')"
    )
    for seed in seeds:
        _insert(connection, "session", _session_row(seed.session))
        for message in seed.messages:
            _insert_message(connection, message)
    return [seed.session["id"] for seed in seeds]


def _session_row(session: JsonObject) -> dict[str, object]:
    times, metadata = session["time"], session.get("metadata")
    return {
        "id": session["id"],
        "project_id": session["projectID"],
        "slug": session["slug"],
        "directory": session["directory"],
        "title": session["title"],
        "version": session["version"],
        "agent": session.get("agent"),
        "metadata": json.dumps(metadata) if metadata else None,
        "time_created": times["created"],
        "time_updated": times["updated"],
        "time_archived": times.get("archived"),
    }


def _insert_message(connection: sqlite3.Connection, message: JsonObject) -> None:
    info = dict(message["info"])
    id, session_id, moment = info.pop("id"), info.pop("sessionID"), info["time"]["created"]
    times = {"time_created": moment, "time_updated": moment}
    _insert(connection, "message", {"id": id, "session_id": session_id, **times, "data": json.dumps(info)})
    for part in message["parts"]:
        data = {key: value for key, value in part.items() if key not in ("id", "messageID", "sessionID")}
        row = {"id": part["id"], "message_id": id, "session_id": session_id, **times, "data": json.dumps(data)}
        _insert(connection, "part", row)


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])
