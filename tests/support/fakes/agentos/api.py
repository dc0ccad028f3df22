"""The routes of AgentOS that deal with sessions."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from mcp_sessions.json_documents import Json, JsonObject

from ..http import Request
from . import rendering
from .about import description, health, info
from .parameters import (
    CreateBody,
    CreateQuery,
    DeleteBody,
    ListQuery,
    Refused,
    RenameBody,
    RunsQuery,
    Scope,
    UpdateBody,
    both_of,
    depth,
    query_of,
)
from .store import Filter, Session, Table, blank, session_data
from .system import System

_STATUSES = ("CANCELLED", "COMPLETED", "ERROR", "PAUSED", "PENDING", "REGENERATED", "RUNNING")
_RESERVED = ("agno_component_version", "agno_dispatch_chain", "agno_dispatch_depth")
_DEEPEST_THAT_IS_COPIED = 300


class Answer(NamedTuple):
    status: int
    body: Json = None


Handler = Callable[["Api", Request, str, str], Answer]


class Route(NamedTuple):
    method: str
    path: re.Pattern[str]
    handler: Handler
    newer: bool = False
    """Whether the route exists in agno 3 only."""


@dataclass
class SessionSummary:
    """A summary built from the client's values, so that wrong values fail as in AgentOS."""

    summary: str
    topics: list[str] | None = None
    updated_at: datetime | None = None


class Api:
    """Answers requests from a system's tables. An exception other than `Refused` becomes a 500."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._newer = system.newer

    def answer(self, request: Request) -> Answer:
        path = request.path.rstrip("/") or "/"
        found = [(route, match) for route, match in self._matching(path)]
        if not found:
            raise Refused(404, "Not Found")
        for route, match in found:
            if route.method == request.method:
                first, second = (*match.groups(), "", "")[:2]
                return route.handler(self, request, first, second)
        raise Refused(405, "Method Not Allowed")

    def _matching(self, path: str) -> Iterator[tuple[Route, re.Match[str]]]:
        for route in ROUTES:
            match = route.path.fullmatch(path)
            if match and (self._newer or not route.newer):
                yield route, match

    def info(self, request: Request, *_: str) -> Answer:
        return Answer(200, info(self._system))

    def health(self, request: Request, *_: str) -> Answer:
        return Answer(200, health())

    def description(self, request: Request, *_: str) -> Answer:
        return Answer(200, description(newer=self._newer))

    def list_sessions(self, request: Request, *_: str) -> Answer:
        query = query_of(request, ListQuery)
        try:
            table = self._system.table(query.db_id, query.table)
        except Refused as refused:
            raise refused if self._newer else Refused(404, str(refused)) from refused
        if self._newer and query.page < 1:
            raise ValueError("`page` must be >= 1")
        rows, count = table.page(
            Filter(self._type(query.type), query.user_id, query.component_id, query.session_name),
            limit=query.limit,
            page=query.page,
            sort_by=query.sort_by,
            ascending=query.sort_order == "asc",
        )
        pages = (count + query.limit - 1) // query.limit
        meta = {"page": query.page, "limit": query.limit, "total_pages": pages, "total_count": count}
        items = [rendering.item(row, newer=self._newer) for row in rows]
        return Answer(200, {"data": items, "meta": {**meta, "search_time_ms": 0.0}})

    def create(self, request: Request, *_: str) -> Answer:
        query, given = both_of(request, CreateQuery, CreateBody, newer=self._newer)
        table = self._system.table(query.db_id, None)
        session_id = given.session_id or str(uuid4())
        if self._newer and table.find(session_id) is not None:
            advice = f"Use PATCH /sessions/{session_id} to update it."
            raise Refused(409, f"Session with id '{session_id}' already exists. {advice}")
        data: JsonObject = {"session_state": given.session_state, "session_name": given.session_name}
        row = blank(session_id) | {
            f"{query.type}_id": getattr(given, f"{query.type}_id"),
            "user_id": given.user_id,
            "session_data": rendering.without_nulls(data) or None,
            "metadata": self._allowed(given.metadata),
            "created_at": int(self._system.now()),
        }
        created = table.save(table.read_as(query.type, row))
        if created is None:
            raise Refused(500, "Failed to create session: 500: Failed to create session")
        return Answer(201, rendering.without_nulls(rendering.detail(created, newer=self._newer)))

    def get(self, request: Request, session_id: str, *_: str) -> Answer:
        query = query_of(request, Scope)
        type = self._type(query.type)
        session = self._system.table(query.db_id, query.table).load(session_id, type, query.user_id)
        if session is None:
            kind = f"{type.title()} Session" if type else "Session"
            raise Refused(404, f"{kind} with id '{session_id}' not found")
        return Answer(200, rendering.without_nulls(rendering.detail(session, newer=self._newer)))

    def runs(self, request: Request, session_id: str, *_: str) -> Answer:
        return Answer(200, [rendering.without_nulls(run) for run in self._runs(request, session_id)])

    def previews(self, request: Request, session_id: str, *_: str) -> Answer:
        return Answer(200, [rendering.preview(run) for run in self._runs(request, session_id)])

    def _runs(self, request: Request, session_id: str) -> list[JsonObject]:
        query = query_of(request, RunsQuery)
        wanted = {value.upper() for value in request.query.get("status", ()) if self._newer}
        if unknown := sorted(wanted - set(_STATUSES)):
            raise Refused(400, f"Invalid status value(s) {unknown}; expected one of {sorted(_STATUSES)}")
        table, type = self._system.table(query.db_id, query.table), self._type(query.type)
        row = table.find(session_id, query.user_id, type)
        if row is None:
            raise Refused(404, f"Session with ID {session_id} not found")
        row["runs"] = [
            run
            for run in row["runs"] or ()
            if not (query.created_after is not None and run["created_at"] < query.created_after)
            and not (query.created_before is not None and run["created_at"] > query.created_before)
        ]
        shown = rendering.runs_of(row, type or row["session_type"], newer=self._newer)
        return [run for run in shown if not wanted or run["status"] in wanted]

    def run(self, request: Request, session_id: str, run_id: str) -> Answer:
        query = query_of(request, Scope)
        table = self._system.table(query.db_id, query.table, heeds_table=self._newer)
        row = table.find(session_id, query.user_id, self._type(query.type))
        if row is None:
            raise Refused(404, f"Session with ID {session_id} not found")
        if not row["runs"]:
            raise Refused(404, f"Session with ID {session_id} has no runs")
        for run in row["runs"]:
            if run["run_id"] == run_id:
                return Answer(200, rendering.run_in(run, rendering.true_type(run), newer=self._newer))
        raise Refused(404, f"Run with ID {run_id} not found in session {session_id}")

    def rename(self, request: Request, session_id: str, *_: str) -> Answer:
        query, given = both_of(request, Scope, RenameBody, newer=self._newer)
        table = self._system.table(query.db_id, query.table)
        session = self._to_change(table, session_id, query)
        if self._system.database == "sqlite":
            session_data(session.row)["session_name"] = given.session_name
            return self._saved(table, session)
        renamed = table.set_name(session, given.session_name)
        if renamed is None:
            raise Refused(404, f"Session with id '{session_id}' not found")
        return Answer(200, rendering.detail(renamed, newer=self._newer))

    def update(self, request: Request, session_id: str, *_: str) -> Answer:
        query, given = both_of(request, Scope, UpdateBody, newer=self._newer)
        table = self._system.table(query.db_id, query.table, heeds_table=self._newer)
        session = self._to_change(table, session_id, query)
        if given.session_name is not None:
            session_data(session.row)["session_name"] = given.session_name
        if given.session_state is not None:
            session_data(session.row)["session_state"] = given.session_state
        if given.metadata is not None:
            session.row["metadata"] = self._allowed(given.metadata)
        if given.summary is not None:
            session.row["summary"] = _summary(given.summary)
        return self._saved(table, session)

    def delete(self, request: Request, session_id: str, *_: str) -> Answer:
        query = query_of(request, Scope)
        self._system.table(query.db_id, query.table).delete([session_id], query.user_id)
        return Answer(204)

    def delete_many(self, request: Request, *_: str) -> Answer:
        query, given = both_of(request, Scope, DeleteBody, newer=self._newer)
        if len(given.session_ids) != len(given.session_types):
            raise Refused(400, "Session IDs and session types must have the same length")
        self._system.table(query.db_id, query.table).delete(given.session_ids, query.user_id)
        return Answer(204)

    def fork_agents(self, request: Request, component_id: str, session_id: str) -> Answer:
        return self._fork(request, "agent", component_id, session_id)

    def fork_teams(self, request: Request, component_id: str, session_id: str) -> Answer:
        return self._fork(request, "team", component_id, session_id)

    def _fork(self, request: Request, type: str, component_id: str, session_id: str) -> Answer:
        query = query_of(request, Scope)
        table = self._system.component_table(type, component_id)
        if table is None:
            raise Refused(404, f"{type.title()} not found")
        source = table.load(session_id, type, query.user_id)
        if source is None or not source.runs:
            raise Refused(400, "Source session has no runs to fork.")
        forked = table.fork(source, query.user_id)
        return Answer(200, {"session_id": forked, "forked_from_session_id": session_id})

    def _type(self, given: str | None) -> str | None:
        return given or (None if self._newer else "agent")

    def _allowed(self, metadata: JsonObject | None) -> JsonObject | None:
        if not self._newer or not metadata or not any(key in metadata for key in _RESERVED):
            return metadata
        return {key: value for key, value in metadata.items() if key not in _RESERVED} or None

    def _to_change(self, table: Table, session_id: str, query: Scope) -> Session:
        session = table.load(session_id, self._type(query.type), query.user_id)
        if session is None:
            raise Refused(404, f"Session with id '{session_id}' not found")
        return session

    def _saved(self, table: Table, session: Session) -> Answer:
        if depth(session.row["session_data"]) > _DEEPEST_THAT_IS_COPIED:
            raise RecursionError("maximum recursion depth exceeded while calling a Python object")
        saved = table.save(session)
        if saved is None:
            raise Refused(500, "Failed to update session")
        return Answer(200, rendering.detail(saved, newer=self._newer))


def _summary(given: JsonObject) -> JsonObject:
    given = copy.copy(given)
    if given.get("updated_at"):
        given["updated_at"] = datetime.fromisoformat(given["updated_at"])
    made = SessionSummary(**given)
    moment = made.updated_at.isoformat() if made.updated_at else None
    return rendering.without_nulls({"summary": made.summary, "topics": made.topics, "updated_at": moment})


def _routes() -> Iterator[Route]:
    part = "([^/]+)"
    yield Route("GET", re.compile("/info"), Api.info, newer=True)
    yield Route("GET", re.compile("/health"), Api.health)
    yield Route("GET", re.compile("/openapi.json"), Api.description)
    for method, handler in (("GET", Api.list_sessions), ("POST", Api.create), ("DELETE", Api.delete_many)):
        yield Route(method, re.compile("/sessions"), handler)
    for method, handler in (("GET", Api.get), ("PATCH", Api.update), ("DELETE", Api.delete)):
        yield Route(method, re.compile(f"/sessions/{part}"), handler)
    yield Route("GET", re.compile(f"/sessions/{part}/runs"), Api.runs)
    yield Route("GET", re.compile(f"/sessions/{part}/run-previews"), Api.previews, newer=True)
    yield Route("GET", re.compile(f"/sessions/{part}/runs/{part}"), Api.run)
    yield Route("POST", re.compile(f"/sessions/{part}/rename"), Api.rename)
    yield Route("POST", re.compile(f"/agents/{part}/sessions/{part}/fork"), Api.fork_agents, newer=True)
    yield Route("POST", re.compile(f"/teams/{part}/sessions/{part}/fork"), Api.fork_teams, newer=True)


ROUTES = tuple(_routes())
