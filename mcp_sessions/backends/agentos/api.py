"""Requests to AgentOS's routes for sessions, made in the way that is safe with its version."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from ...errors import (
    BadResponse,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    Unauthorized,
    Unsupported,
)
from ...json_documents import Json, JsonObject, is_array, is_object
from ..http.client import HttpClient, Reply, ServerFailed, path
from ..http.credentials import ANONYMOUS
from .api_errors import not_found
from .page_reader import UpstreamPage
from .session_paths import session_path
from .versions import Feature, Version, VersionCache
from .wire import TYPES, AgentOsSession, component_type, object_in, read_session, text_in

_MOST_PAGE = 32 * 1024 * 1024
_MOST_TYPES = 10_000
Parameters = Mapping[str, str | int]


class Api:
    """Requests to one AgentOS, database and table, with one credential.

    `owner` is the user whose sessions a request is for; "" is for all users. If AgentOS returns the session of another
    user than `owner`, it is refused here too.
    """

    def __init__(self, http: HttpClient, version: VersionCache, *, db_id: str, table: str) -> None:
        self.http = http
        self._version = version
        self._database = {key: value for key, value in {"db_id": db_id, "table": table}.items() if value}
        self._types: dict[str, str] = {}
        """The types of team and workflow sessions by their ids, to ask for these first."""

    async def version(self, *, fresh: bool = False) -> Version:
        """Return AgentOS's version. `fresh`: don't use the cached one."""
        return await self._version.get(self.http, fresh=fresh)

    async def find(self, session_id: str, owner: str, *, type: str = "") -> AgentOsSession:
        """Return a session with its true type. Raise `NotFound`. `type` is the type to try first before agno 2.6."""
        version = await self.version()
        try:
            if version.has(Feature.FINDS_TYPES):
                answer = (await self.http.read(session_path(session_id), params=self._parameters(owner))).json()
                found = replace(read_session(answer), is_type_certain=bool(component_type(answer)))
            else:
                found = await self._find_typed(session_id, owner, type)
        except NotFound as error:
            raise not_found(session_id) from error
        if found.id != session_id or (owner and found.user_id != owner):
            raise not_found(session_id)
        return found

    async def _find_typed(self, session_id: str, owner: str, first: str) -> AgentOsSession:
        """Return a session and its type before agno 2.6, which renders a session in any type that is asked for.

        The id of its component proves the type. On PostgreSQL, a session is found by its own type only, which proves
        the type too. On other databases, a session without a component is found by several types: it is then returned
        as an agent's.
        """
        first = first or self._types.get(session_id, "")
        shown: dict[str, Json] = {}
        failure: ServerFailed | None = None
        for type in sorted(TYPES, key=lambda known: known != first):
            try:
                answer = (
                    await self.http.read(session_path(session_id), params=self._parameters(owner, type=type))
                ).json()
            except NotFound:
                continue
            except ServerFailed as error:
                failure = error
                continue
            if component_type(answer) == type:
                self._remember(session_id, type)
                return read_session(answer, type=type)
            shown[type] = answer
        if not shown:
            raise failure or not_found(session_id)
        if len(shown) == 1 and failure is None:
            ((type, answer),) = shown.items()
            self._remember(session_id, type)
            return read_session(answer, type=type)
        return replace(read_session(next(iter(shown.values())), type="agent"), is_type_certain=False)

    def _remember(self, session_id: str, type: str) -> None:
        if len(self._types) >= _MOST_TYPES:
            self._types.clear()
        if type != TYPES[0]:
            self._types[session_id] = type

    async def list_page(
        self, owner: str, *, type: str, component: str, by: str, order: str, page: int, size: int
    ) -> UpstreamPage:
        """Return a page of the list, `page` from 1. Before agno 2.6, items have no owner, component or metadata."""
        has_types = (await self.version()).has(Feature.FINDS_TYPES)
        asked: dict[str, str | int] = {"limit": size, "page": page, "sort_by": by, "sort_order": order}
        asked |= {"type": type} if type else {}
        asked |= {"component_id": component} if component else {}
        try:
            reply = await self.http.read(
                path("sessions"), params=self._parameters(owner, **asked), most_bytes=_MOST_PAGE
            )
        except NotFound as error:
            raise BadResponse("the server at the backend's URL is not an AgentOS. Check its address.") from error
        answer = reply.json()
        items = answer.get("data") if is_object(answer) else None
        if not is_array(items):
            raise BadResponse("AgentOS's answer is not a list of sessions. Check its version and address.")
        total = object_in(answer, "meta").get("total_count")
        return UpstreamPage(
            [read_session(item, type=type, has_details=has_types) for item in items],
            total if isinstance(total, int) else None,
        )

    async def runs(self, session_id: str, owner: str, type: str) -> Reply:
        """Return all runs with their messages; AgentOS can't return a part of them."""
        return await self._of(session_id, owner, type, "runs")

    async def run(self, session_id: str, owner: str, type: str, run_id: str) -> Reply:
        """Return one run with its messages."""
        return await self._of(session_id, owner, type, "runs", run_id)

    async def previews(self, session_id: str, owner: str, type: str) -> Reply:
        """Return previews of all runs: without messages, and with inputs and outputs cut."""
        (await self.version()).require(Feature.SHOWS_PREVIEWS, "a preview of runs")
        return await self._of(session_id, owner, type, "run-previews")

    async def _of(self, session_id: str, owner: str, type: str, *route: str) -> Reply:
        parameters = self._parameters(owner, **await self._type_parameter(type))
        try:
            return await self.http.read(session_path(session_id, *route), params=parameters, most_bytes=_MOST_PAGE)
        except NotFound as error:
            raise not_found(session_id) from error

    async def rename(self, session: AgentOsSession, owner: str, name: str) -> AgentOsSession:
        """Rename a session, and return the session that AgentOS answers with."""
        return await self._change("POST", session, owner, {"session_name": name}, "rename")

    async def update(self, session: AgentOsSession, owner: str, fields: JsonObject) -> AgentOsSession:
        """Replace these fields (`session_name`, `session_state`, `metadata`, `summary`), each as a whole."""
        if "table" in self._database:
            (await self.version()).require(
                Feature.UPDATES_HONOUR_TABLE, "changing this session in the table that the backend's URL names"
            )
        return await self._change("PATCH", session, owner, fields)

    async def _change(
        self, method: str, session: AgentOsSession, owner: str, fields: JsonObject, *route: str
    ) -> AgentOsSession:
        parameters = self._parameters(owner, **await self._write_type_parameter(session, owner))
        try:
            reply = await self.http.change(method, session_path(session.id, *route), params=parameters, json=fields)
        except NotFound as error:
            raise not_found(session.id) from error
        return read_session(reply.json(), type=session.type)

    async def _write_type_parameter(self, session: AgentOsSession, owner: str) -> dict[str, str]:
        """Return the `type` parameter for a write: the session's type if it is certain.

        Otherwise return none, so that agno ≥ 2.6 finds the type itself. Raise `Unsupported` for a write that would
        erase runs.
        """
        version = await self.version(fresh=not session.is_type_certain)
        if not session.is_type_certain and not version.has(Feature.FINDS_TYPES):
            session = await self._find_typed(session.id, owner, "")
        if not version.has(Feature.RUNS_STAND_APART):
            await self._refuse_to_lose_runs(
                session, owner, is_certain=session.is_type_certain or version.has(Feature.FINDS_TYPES)
            )
        return {"type": session.type} if session.is_type_certain or not version.has(Feature.FINDS_TYPES) else {}

    async def _refuse_to_lose_runs(self, session: AgentOsSession, owner: str, *, is_certain: bool) -> None:
        kept = ("workflow_id",) if session.type == "workflow" else ("agent_id", "team_id")
        runs = (await self.runs(session.id, owner, session.type)).json()
        if is_certain and is_array(runs):
            runs = [run for run in runs if not (is_object(run) and any(text_in(run, key) for key in kept))]
        if runs:
            raise Unsupported(
                "this session has runs of another type than its own, and before agno 3.0 any change would erase them. "
                "Upgrade AgentOS first."
            )

    async def delete(self, session: AgentOsSession, owner: str) -> None:
        """Delete a session. AgentOS's answer doesn't depend on whether the session existed."""
        await self.http.change("DELETE", session_path(session.id), params=self._parameters(owner))

    async def types_of(self, component: str) -> Sequence[str]:
        """Return which of agent, team and workflow have this id; nothing if AgentOS doesn't answer that."""
        try:
            answer = (await self.http.read("/config")).json()
        except (NotFound, Forbidden, ServerFailed, BadResponse):
            return ()
        found = [(type, answer.get(f"{type}s")) for type in TYPES] if is_object(answer) else []
        return [
            type
            for type, known in found
            if is_array(known) and any(is_object(item) and text_in(item, "id") == component for item in known)
        ]

    async def _is_in_own_database(self, session: AgentOsSession) -> bool:
        """Return whether the session's agent or team uses the database in the backend's URL."""
        if "db_id" not in self._database:
            return True
        answer = (await self.http.read("/config")).json()
        known = answer.get(f"{session.type}s") if is_object(answer) else None
        own = {"id": session.agent_id, "db_id": self._database["db_id"]}
        return is_array(known) and any(is_object(item) and own.items() <= item.items() for item in known)

    def new_id(self) -> str:
        """Return an id for a new session."""
        return str(uuid4())

    async def create(self, session_id: str, owner: str, *, type: str, component: str, fields: JsonObject) -> None:
        """Create a session. The id must be new: before agno 2.7.4, the id of an existing session empties that one."""
        if "table" in self._database:
            raise Unsupported(
                "AgentOS creates sessions in its default table only. Leave table out of the backend's URL."
            )
        content: JsonObject = {"session_id": session_id, **fields}
        content |= {f"{type}_id": component} if component else {}
        content |= {"user_id": owner} if owner else {}
        db_id = self._database.get("db_id")
        parameters = {"type": type} | ({"db_id": db_id} if db_id else {})
        await self.http.change("POST", path("sessions"), params=parameters, json=content, idempotent=False)

    async def is_open_to_anyone(self) -> bool:
        """Return whether sessions can be listed without a credential.

        With some settings, agno 2.5.6 allows this although a key is set.
        """
        try:
            await self.http.with_credential(ANONYMOUS).read(path("sessions"), params={**self._database, "limit": 1})
        except (Unauthorized, Forbidden):
            return False
        return True

    async def fork(self, session: AgentOsSession, owner: str) -> str:
        """Fork a session, and return the fork's id.

        The route takes neither database nor table: it forks sessions in the database of their agent or team.
        """
        if "table" in self._database or not await self._is_in_own_database(session):
            raise Unsupported(
                "AgentOS forks only in its default table, in the database of the session's agent or team. The "
                "backend's URL names another one."
            )
        route = path(f"{session.type}s", session.agent_id, "sessions", session.id, "fork")
        parameters = {"user_id": owner} if owner else {}
        reply = await self.http.change("POST", route, params=parameters, json={}, idempotent=False)
        with suppress(BadResponse):
            answer = reply.json()
            if found := text_in(answer, "session_id") if is_object(answer) else "":
                return found
        raise OutcomeUnknown(
            "AgentOS forked the session, but its answer does not name the fork. Find the fork with list_sessions."
        )

    async def _type_parameter(self, type: str) -> dict[str, str]:
        """Return the `type` parameter for a read, which agno ≥ 2.6 doesn't need."""
        return {} if (await self.version()).has(Feature.FINDS_TYPES) else {"type": type}

    def _parameters(self, owner: str, **more: str | int) -> Parameters:
        return {**self._database, **({"user_id": owner} if owner else {}), **more}
