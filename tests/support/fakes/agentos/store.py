"""The rows of an AgentOS, in an SQLite database with a schema of its own."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal
from uuid import uuid4

from mcp_sessions.json_documents import Json, JsonObject, is_object

from .jsonb import DataError, cleaned, is_storable

Database = Literal["sqlite", "postgresql", "postgresql-async"]
"""The database of agno, and whether its driver is asynchronous where that makes a difference."""

OWN_COLUMNS = {kind: (f"{kind}_id", f"{kind}_data") for kind in ("agent", "team", "workflow")}
"""The columns that only sessions of one type have."""
_JSON = ("session_data", "agent_data", "team_data", "workflow_data", "metadata", "summary")
_OF_WORKFLOW_RUNS = (
    *("run_id", "session_id", "user_id", "workflow_id", "workflow_name", "parent_run_id", "input", "content", "status"),
    *("content_type", "created_at", "step_results", "step_executor_runs", "metrics", "metadata", "events"),
    *("images", "videos", "audio", "files"),
)

_NAME = "session_data ->> '$.session_name'"

_SCHEMA = """
CREATE TABLE {name} (session_id VARCHAR NOT NULL, session_type VARCHAR NOT NULL, agent_id VARCHAR, team_id VARCHAR,
    workflow_id VARCHAR, user_id VARCHAR, session_data JSON, agent_data JSON, team_data JSON, workflow_data JSON,
    metadata JSON, runs JSON, summary JSON, created_at BIGINT NOT NULL, updated_at BIGINT, PRIMARY KEY (session_id));
CREATE INDEX idx_{name}_session_type ON {name} (session_type);
CREATE INDEX idx_{name}_created_at ON {name} (created_at);
CREATE TABLE {name}_runs (run_id VARCHAR NOT NULL PRIMARY KEY, session_id VARCHAR NOT NULL, user_id VARCHAR,
    run_index BIGINT, run_data JSON NOT NULL);
"""


@dataclass
class Session:
    """A row as the class of one type reads it and writes it back; the type may be the wrong one."""

    type: str
    row: JsonObject
    runs: list[JsonObject] = field(default_factory=list[JsonObject])


@dataclass(frozen=True)
class Filter:
    """The filters of a list; an empty text is a value like any other."""

    type: str | None = None
    user_id: str | None = None
    component_id: str | None = None
    session_name: str | None = None

    def condition(self, database: Database) -> tuple[str, list[str]]:
        terms: list[str] = []
        values: list[str] = []
        if self.user_id is not None:
            terms.append("user_id = ?")
            values.append(self.user_id)
        if self.component_id is not None:
            columns = [f"{self.type}_id"] if self.type else [own for own, _ in OWN_COLUMNS.values()]
            terms.append("(" + " OR ".join(f"{column} = ?" for column in columns) + ")")
            values += [self.component_id] * len(columns)
        if self.session_name is not None:
            terms.append("session_data LIKE ?" if database == "sqlite" else f"coalesce({_NAME}, '') LIKE ?")
            values.append(f"%{self.session_name}%")
        if self.type is not None:
            terms.append("session_type = ?")
            values.append(self.type)
        return (" WHERE " + " AND ".join(terms) if terms else ""), values


class Table:
    """The sessions of one table. `newer`: with their runs in a table of their own, and JSON that is encoded once.

    `shuffles_ties`: the order of sessions of one second depends on the page and its size, as PostgreSQL's does.
    """

    def __init__(
        self,
        name: str,
        *,
        newer: bool,
        now: Callable[[], float],
        shuffles_ties: bool,
        database: Database = "sqlite",
    ) -> None:
        self.name = name
        self._newer = newer
        self._database: Database = database
        self._now = now
        self._shuffles_ties = shuffles_ties
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.executescript(_SCHEMA.format(name=name))
        self.connection.create_function("shuffled", 2, _shuffled, deterministic=True)
        columns = self.connection.execute(f"SELECT * FROM {name}").description
        self._columns = {column for column, *_ in columns} - ({"runs"} if newer else set[str]())

    def find(self, session_id: str, user_id: str | None = None, type: str | None = None) -> JsonObject | None:
        if "\0" in session_id and self._database == "postgresql":
            raise DataError("(psycopg.DataError) PostgreSQL text fields cannot contain NUL (0x00) bytes")
        condition, values = "session_id = ?", [session_id]
        if user_id is not None:
            condition, values = f"{condition} AND user_id = ?", [session_id, user_id]
        if type is not None and self._database != "sqlite" and not self._newer:
            condition, values = f"{condition} AND session_type = ?", [*values, type]
        found = self.connection.execute(f"SELECT * FROM {self.name} WHERE {condition}", values).fetchone()
        return self._decoded(found) if found else None

    def page(
        self, wanted: Filter, *, limit: int, page: int, sort_by: str, ascending: bool
    ) -> tuple[list[JsonObject], int]:
        if page < 1 and self._database == "postgresql":
            raise DataError("(psycopg.errors.InvalidRowCountInResultOffsetClause) OFFSET must not be negative")
        if page < 1 and self._database == "postgresql-async":
            return [], 0
        condition, values = wanted.condition(self._database)
        source = f"FROM {self.name}{condition}"
        (count,) = self.connection.execute(f"SELECT count(*) {source}", values).fetchone()
        order = ""
        if sort_by in self._columns:
            key = "coalesce(updated_at, created_at)" if sort_by == "updated_at" else sort_by
            order = f" ORDER BY {key} {'ASC' if ascending else 'DESC'}"
            order += f", shuffled(session_id, {page * limit})" if self._shuffles_ties else ""
        found = self.connection.execute(
            f"SELECT * {source}{order} LIMIT ? OFFSET ?", [*values, limit, (page - 1) * limit]
        )
        return [self._decoded(row) for row in found.fetchall()], count

    def load(self, session_id: str, type: str | None = None, user_id: str | None = None) -> Session | None:
        row = self.find(session_id, user_id, type)
        return None if row is None else self.read_as(type or row["session_type"], row)

    def set_name(self, session: Session, name: str) -> Session | None:
        """Rename as agno does on PostgreSQL, by `jsonb_set`, which has no effect on SQL's NULL.

        It fails on JSON's null: agno then raises, or says over an asynchronous driver that there is no such session.
        """
        session_id = session.row["session_id"]
        (data,) = self.connection.execute(
            f"SELECT session_data FROM {self.name} WHERE session_id = ?", [session_id]
        ).fetchone()
        if data == "null" and self._database == "postgresql-async":
            return None
        if data == "null":
            raise DataError("(psycopg.errors.InvalidParameterValue) cannot set path in scalar")
        if data is not None:
            renamed: JsonObject = {**(session.row["session_data"] or {}), "session_name": cleaned(name)}
            self._set(session_id, session_data=self._encoded(renamed))
        return self.load(session_id, session.type)

    def _set(self, session_id: str, **values: Json) -> None:
        changed = ", ".join(f"{column} = ?" for column in values)
        self.connection.execute(
            f"UPDATE {self.name} SET {changed} WHERE session_id = ?", [*values.values(), session_id]
        )

    def read_as(self, type: str, row: JsonObject) -> Session:
        runs: list[JsonObject] = [run if self._newer else _filled(run) for run in row["runs"] or ()]
        if type == "workflow":
            read = [self._as_workflow_run(run) for run in runs]
            defaults: JsonObject = {key: row[key] or {} for key in ("session_data", "workflow_data", "metadata")}
            return Session(type, row | defaults, [run for run in read if run is not None])
        return Session(type, row, [run for run in runs if "agent_id" in run or "team_id" in run])

    def _as_workflow_run(self, run: JsonObject) -> JsonObject | None:
        if self._newer:
            return None if "agent_id" in run or "team_id" in run else run
        if run.get("metrics"):
            run["metrics"]["steps"]  # another type's have none: a KeyError, which the server answers with 500
        return {key: value for key, value in run.items() if key in _OF_WORKFLOW_RUNS}

    def save(self, session: Session) -> Session | None:
        """Return the row as its class writes it; None if it is another user's, or if an asynchronous driver failed."""
        row = session.row
        own_id, own_data = OWN_COLUMNS[session.type]
        values: dict[str, Json] = {own_id: row[own_id], "user_id": row["user_id"]}
        columns: JsonObject = {key: row[key] for key in (own_data, "session_data", "metadata")}
        columns["summary"] = None if session.type == "workflow" else row["summary"]
        if not self._newer:
            columns["runs"] = session.runs or None
        if self._database != "sqlite":
            columns = {key: cleaned(value) for key, value in columns.items()}
            if not is_storable(columns):
                if self._database == "postgresql-async":
                    return None
                raise DataError("(psycopg.errors.InvalidTextRepresentation) invalid input syntax for type json")
        values |= {key: self._encoded(value) for key, value in columns.items()}
        changed = ", ".join(f"{key} = excluded.{key}" for key in values)
        given: dict[str, Json] = {
            "session_id": row["session_id"],
            "session_type": session.type,
            "created_at": row["created_at"] or int(self._now()),
            "updated_at": row["created_at"] or int(self._now()),
            **values,
        }
        written = self.connection.execute(
            f"INSERT INTO {self.name} ({', '.join(given)}) VALUES ({', '.join('?' * len(given))}) "
            f"ON CONFLICT (session_id) DO UPDATE SET {changed}, updated_at = ? "
            "WHERE user_id IS ? OR user_id IS NULL RETURNING *",
            [*given.values(), int(self._now()), row["user_id"]],
        ).fetchone()
        if written is None:
            return None
        saved = self._decoded(written)
        if self._newer:
            read = self.read_as(saved["session_type"], saved)
            return Session(read.type, read.row, session.runs)
        return self.read_as(session.type, saved)

    def add_runs(self, session_id: str, user_id: str | None, runs: Sequence[JsonObject]) -> None:
        """Write runs into their table, if there is one. In older versions they are part of their session."""
        if self._newer:
            for run in runs:
                self.connection.execute(
                    f"INSERT INTO {self.name}_runs SELECT ?, ?, ?, coalesce(max(run_index) + 1, 0), ? "
                    f"FROM {self.name}_runs WHERE session_id = ?",
                    [run["run_id"], session_id, user_id, json.dumps(run), session_id],
                )

    def delete(self, session_ids: Sequence[str], user_id: str | None) -> None:
        for session_id in session_ids:
            if self.find(session_id, user_id) is not None:
                self.connection.execute(f"DELETE FROM {self.name} WHERE session_id = ?", [session_id])
                self.connection.execute(f"DELETE FROM {self.name}_runs WHERE session_id = ?", [session_id])

    def fork(self, source: Session, user_id: str | None) -> str:
        """Fork the session of an agent or team (`source.type`): its runs get new ids, their messages keep theirs."""
        new_id, now = str(uuid4()), int(self._now())
        parent = source.row["session_id"]
        row: JsonObject = source.row | {
            "session_id": new_id,
            "user_id": user_id or source.row["user_id"],
            "session_data": {**(source.row["session_data"] or {}), "forked_from_session_id": parent},
            "created_at": now,
        }
        runs: list[JsonObject] = [
            {"forked_from_session_id": parent, **run, "run_id": str(uuid4()), "session_id": new_id}
            for run in source.runs
        ]
        self.save(Session(source.type, row, runs))
        self.add_runs(new_id, row["user_id"], runs)
        return new_id

    def overwrite(self, session_id: str, columns: JsonObject) -> None:
        """Set columns to values that AgentOS itself may never write."""
        for key, value in columns.items():
            written = json.dumps(value) if key in _JSON else value
            self.connection.execute(f"UPDATE {self.name} SET {key} = ? WHERE session_id = ?", [written, session_id])

    def _decoded(self, found: sqlite3.Row) -> JsonObject:
        row: JsonObject = dict(found)
        for key in (*_JSON, "runs"):
            value: Json = None if row[key] is None else json.loads(row[key])
            row[key] = json.loads(value) if isinstance(value, str) else value
        if self._newer:
            stored = self.connection.execute(
                f"SELECT run_data FROM {self.name}_runs WHERE session_id = ? ORDER BY run_index", [row["session_id"]]
            )
            row["runs"] = [json.loads(run) for (run,) in stored.fetchall()]
        return row

    def _encoded(self, value: Json) -> str:
        text = json.dumps(value)
        is_encoded_once = self._newer or self._database != "sqlite" or value is None
        return text if is_encoded_once else json.dumps(text)


def _shuffled(session_id: str, bound: int) -> bytes:
    return blake2b(f"{session_id} {bound}".encode()).digest()


def _filled(run: JsonObject) -> JsonObject:
    """Return a run with the empty fields that 2.5.6 adds when it writes a run that it has read."""
    filled = dict(run)
    if run.get("tools"):
        schemas = ("user_input_schema", "user_feedback_schema")
        filled["tools"] = [{**tool, **{key: tool.get(key) or [] for key in schemas}} for tool in run["tools"]]
    if run.get("step_executor_runs"):
        filled["step_executor_runs"] = [{"events": [], **_filled(step)} for step in run["step_executor_runs"]]
    return filled


def blank(session_id: str) -> JsonObject:
    """Return a row with only an id."""
    empty: JsonObject = dict.fromkeys((*_JSON, "runs", "user_id", "created_at", "updated_at"))
    return {"session_id": session_id, **dict.fromkeys(own for own, _ in OWN_COLUMNS.values()), **empty}


def session_data(row: JsonObject) -> JsonObject:
    """Return the part with name and state, and create it if it is missing."""
    if not is_object(row["session_data"]):
        row["session_data"] = {}
    return row["session_data"]
