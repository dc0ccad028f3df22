"""Requests to AgentOS's routes for sessions."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import uuid4

from ...errors import BadResponse, Forbidden, NotFound, OutcomeUnknown, Unauthorized, Unsupported
from ...json_documents import JsonObject, is_array, is_object, object_in, text_in
from ..http.client import MAX_BYTES, HttpClient, Reply, ServerFailed, path
from ..http.credentials import ANONYMOUS
from .api_errors import not_found
from .page_reader import UpstreamPage
from .session_paths import session_path
from .versions import PREVIEWS, SEPARATE_RUNS, Version, VersionCache
from .wire import TYPES, AgentOsSession, read_session

_MAX_PAGE_BYTES = 32 * 1024 * 1024
Parameters = Mapping[str, str | int]


class Api:
    """Requests to one AgentOS, database and table, with one credential.

    `owner` is the user whose sessions a request may access; "" means all users. `Api` refuses a session of any other
    user even if AgentOS returns it.
    """

    def __init__(self, http: HttpClient, version: VersionCache, *, db_id: str, table: str) -> None:
        self.http = http
        self._version = version
        self._database = {key: value for key, value in {"db_id": db_id, "table": table}.items() if value}

    async def version(self, *, fresh: bool = False) -> Version:
        """Return AgentOS's version. `fresh`: don't use the cached one."""
        return await self._version.get(self.http, fresh=fresh)

    async def find(self, session_id: str, owner: str) -> AgentOsSession:
        """Return a session. Raise `NotFound` if the owner has no session with this id."""
        found = await self._read_session(session_id, owner)
        if found.id != session_id or (owner and found.user_id != owner):
            raise not_found(session_id)
        return found

    async def _read_session(self, session_id: str, owner: str) -> AgentOsSession:
        return read_session((await self._read(session_id, owner)).json())

    async def check_access(self, session_id: str, owner: str) -> None:
        """Raise `NotFound` if the session is another user's. AgentOS itself may show that session's runs."""
        if owner:
            await self.find(session_id, owner)

    async def list_page(
        self, owner: str, *, type: str, component: str, by: str, order: str, page: int, size: int
    ) -> UpstreamPage:
        """Return a page of the list. `page` counts from 1."""
        query: dict[str, str | int] = {"limit": size, "page": page, "sort_by": by, "sort_order": order}
        query |= {"type": type} if type else {}
        query |= {"component_id": component} if component else {}
        try:
            reply = await self.http.read(
                path("sessions"), params=self._parameters(owner, **query), max_bytes=_MAX_PAGE_BYTES
            )
        except NotFound as error:
            raise BadResponse("the server at the backend's URL is not an AgentOS. Check its address.") from error
        answer = reply.json()
        items = answer.get("data") if is_object(answer) else None
        if not is_array(items):
            raise BadResponse("AgentOS's answer is not a list of sessions. Check its version and address.")
        total = object_in(answer, "meta").get("total_count")
        return UpstreamPage([read_session(item) for item in items], total if isinstance(total, int) else None)

    async def runs(self, session_id: str, owner: str) -> Reply:
        """Return all runs with their messages; AgentOS can't return a part of them."""
        return await self._read(session_id, owner, "runs")

    async def run(self, session_id: str, owner: str, run_id: str) -> Reply:
        """Return one run with its messages."""
        return await self._read(session_id, owner, "runs", run_id)

    async def previews(self, session_id: str, owner: str) -> Reply:
        """Return previews of all runs: without messages, and with truncated inputs and outputs."""
        (await self.version()).require(PREVIEWS, "a preview of runs")
        return await self._read(session_id, owner, "run-previews")

    async def _read(self, session_id: str, owner: str, *route: str, **query: str) -> Reply:
        try:
            return await self.http.read(
                session_path(session_id, *route),
                params=self._parameters(owner, **query),
                max_bytes=_MAX_PAGE_BYTES if route else MAX_BYTES,
            )
        except NotFound as error:
            raise not_found(session_id) from error

    async def rename(self, session: AgentOsSession, owner: str, name: str) -> AgentOsSession:
        """Rename a session, and return the session that AgentOS answers with."""
        return await self._change("POST", session, owner, {"session_name": name}, "rename")

    async def update(self, session: AgentOsSession, owner: str, fields: JsonObject) -> AgentOsSession:
        """Replace the values of these fields (`session_name`, `session_state`, `metadata`, `summary`)."""
        return await self._change("PATCH", session, owner, fields)

    async def _change(
        self, method: str, session: AgentOsSession, owner: str, fields: JsonObject, *route: str, **query: str
    ) -> AgentOsSession:
        if await self.version() < SEPARATE_RUNS:
            await self._refuse_to_erase_runs(session, owner)
        try:
            reply = await self.http.change(
                method, session_path(session.id, *route), params=self._parameters(owner, **query), json=fields
            )
        except NotFound as error:
            raise not_found(session.id) from error
        return read_session(reply.json(), type=session.type)

    async def _refuse_to_erase_runs(self, session: AgentOsSession, owner: str) -> None:
        safe_keys = ("workflow_id",) if session.type == "workflow" else ("agent_id", "team_id")
        runs = (await self.runs(session.id, owner)).json()
        if is_array(runs):
            runs = [run for run in runs if not (is_object(run) and any(text_in(run, key) for key in safe_keys))]
        if runs:
            raise runs_would_be_erased()

    async def delete(self, session: AgentOsSession, owner: str) -> None:
        """Delete a session. AgentOS's answer doesn't depend on whether the session existed."""
        await self.http.change("DELETE", session_path(session.id), params=self._parameters(owner))

    async def types_of(self, component: str) -> Sequence[str]:
        """Return the types (agent, team, workflow) of the components with this id; empty if AgentOS lists none."""
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
        """Create a session. The id must be new: before agno 2.7.4, AgentOS empties an existing session with this id."""
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
        """Return whether sessions can be listed without a credential."""
        try:
            await self.http.with_credential(ANONYMOUS).read(path("sessions"), params={**self._database, "limit": 1})
        except (Unauthorized, Forbidden):
            return False
        return True

    async def keeps_users_apart(self) -> bool:
        """Return whether AgentOS confirms that it keeps users apart."""
        info = (await self.http.read("/info")).json()
        return is_object(info) and info.get("user_isolation") is True

    async def fork(self, session: AgentOsSession, owner: str) -> str:
        """Fork a session, and return the fork's id.

        The route takes neither a database nor a table: it forks a session in the database of its agent or team.
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

    def _parameters(self, owner: str, **query: str | int) -> Parameters:
        return {**self._database, **({"user_id": owner} if owner else {}), **query}


def runs_would_be_erased() -> Unsupported:
    """Return the error for a change that would erase runs."""
    return Unsupported(
        "this session has runs of another type than its own, and before agno 3.0 any change would erase them. "
        "Upgrade AgentOS first."
    )
