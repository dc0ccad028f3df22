"""AgentOS's routes for sessions, as they are safe to use in the version at hand."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from ...errors import (
    BadResponse,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    SessionsError,
    Unauthorized,
    Unsupported,
    quoted,
)
from ...json_documents import Json, JsonObject, is_array, is_object
from ..http.client import HttpClient, Reply, ServerFailed, path
from ..http.credentials import ANONYMOUS
from .page_reader import UpstreamPage
from .versions import KnownVersion, Trait, Version
from .wire import TYPES, Stored, component_type, object_in, read_session, text

_MOST_PAGE = 32 * 1024 * 1024
_MOST_TYPES = 10_000
Parameters = Mapping[str, str | int]


def explain(reply: Reply, credential: str) -> SessionsError | None:
    """What a refusal means, where AgentOS says it only in words."""
    answer = reply.json()
    detail = text(answer, "detail") if is_object(answer) else ""
    if reply.status in (400, 404) and "db_id query parameter is required" in detail:
        return Invalid("this AgentOS has several databases. Name one in --backend: agentos+http://HOST?db_id=ID.")
    if reply.status in (400, 404) and re.search("No database|with id '.*' has table", detail):
        return Invalid("this AgentOS has no such database or table. Correct db_id or table in --backend.")
    if reply.status == 400 and "no runs to fork" in detail:
        return Invalid("this session has no messages that could be forked. create_session makes a new one.")
    if reply.status == 403:
        scope = re.search(r"\b(sessions|agents|teams|config|system):[a-z*]+\b", detail)
        lacks = f"lacks {scope.group()}" if scope else "lacks the right to do this"
        return Forbidden(f"{credential} {lacks}. Ask whoever runs AgentOS for it.")
    return None


class Api:
    """The requests for one AgentOS, database and table, with one credential.

    `owner` is the user whose sessions are meant, "" everybody's. What a narrowed owner may not see is refused here
    too, where the answer says whose it is.
    """

    def __init__(self, http: HttpClient, version: KnownVersion, *, db_id: str, table: str) -> None:
        self.http = http
        self._version = version
        self._place = {key: value for key, value in {"db_id": db_id, "table": table}.items() if value}
        self._types: dict[str, str] = {}  # of sessions that are no agent's: where to look first

    async def version(self, *, anew: bool = False) -> Version:
        """What AgentOS runs, which is the same for every credential; `anew`: as of now."""
        return await self._version.get(self.http, anew=anew)

    async def find(self, session_id: str, owner: str, *, type: str = "") -> Stored:
        """One session, in its true type. Raises `NotFound`; `type` is where to look first before agno 2.6."""
        version = await self.version()
        try:
            if version.has(Trait.FINDS_TYPES):
                answer = (await self.http.read(path("sessions", session_id), params=self._parameters(owner))).json()
                found = replace(read_session(answer), is_proven=bool(component_type(answer)))
            else:
                found = await self._find_typed(session_id, owner, type)
        except NotFound as error:
            raise absent(session_id) from error
        if found.id != session_id or (owner and found.user_id != owner):
            raise absent(session_id)
        return found

    async def _find_typed(self, session_id: str, owner: str, first: str) -> Stored:
        """Find a session and its type before agno 2.6, which shows it in any type that is asked for.

        The id of its component proves the type. On PostgreSQL, a session is found in its own type only, which proves
        the type too. Elsewhere a session of no component is shown in several types; it is then read as an agent's.
        """
        first = first or self._types.get(session_id, "")
        shown: dict[str, Json] = {}
        failure: ServerFailed | None = None
        for type in sorted(TYPES, key=lambda known: known != first):
            try:
                answer = (
                    await self.http.read(path("sessions", session_id), params=self._parameters(owner, type=type))
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
            raise failure or absent(session_id)
        if len(shown) == 1 and failure is None:
            ((type, answer),) = shown.items()
            self._remember(session_id, type)
            return read_session(answer, type=type)
        return replace(read_session(next(iter(shown.values())), type="agent"), is_proven=False)

    def _remember(self, session_id: str, type: str) -> None:
        if len(self._types) >= _MOST_TYPES:
            self._types.clear()
        if type != TYPES[0]:
            self._types[session_id] = type

    async def list_page(
        self, owner: str, *, type: str, component: str, by: str, order: str, page: int, size: int
    ) -> UpstreamPage:
        """Return a page of the list, `page` from 1. Before agno 2.6, items have no owner, component or metadata."""
        has_types = (await self.version()).has(Trait.FINDS_TYPES)
        asked: dict[str, str | int] = {"limit": size, "page": page, "sort_by": by, "sort_order": order}
        asked |= {"type": type} if type else {}
        asked |= {"component_id": component} if component else {}
        try:
            reply = await self.http.read(
                path("sessions"), params=self._parameters(owner, **asked), most_bytes=_MOST_PAGE
            )
        except NotFound as error:
            raise BadResponse("the server in --backend answers, but not as an AgentOS. Check its address.") from error
        answer = reply.json()
        items = answer.get("data") if is_object(answer) else None
        if not is_array(items):
            raise BadResponse("AgentOS answered something that is no list of sessions. Check its version and address.")
        total = object_in(answer, "meta").get("total_count")
        return UpstreamPage(
            [read_session(item, type=type, is_whole=has_types) for item in items],
            total if isinstance(total, int) else None,
        )

    async def runs(self, session_id: str, owner: str, type: str) -> Reply:
        """All runs with their messages; AgentOS can't give a part of them."""
        return await self._of(session_id, owner, type, "runs")

    async def run(self, session_id: str, owner: str, type: str, run_id: str) -> Reply:
        return await self._of(session_id, owner, type, "runs", run_id)

    async def previews(self, session_id: str, owner: str, type: str) -> Reply:
        (await self.version()).require(Trait.SHOWS_PREVIEWS, "a preview of runs")
        return await self._of(session_id, owner, type, "run-previews")

    async def _of(self, session_id: str, owner: str, type: str, *route: str) -> Reply:
        parameters = self._parameters(owner, **await self._typed(type))
        try:
            return await self.http.read(path("sessions", session_id, *route), params=parameters, most_bytes=_MOST_PAGE)
        except NotFound as error:
            raise absent(session_id) from error

    async def rename(self, stored: Stored, owner: str, name: str) -> Stored:
        """The session as AgentOS says that it is now."""
        return await self._change("POST", stored, owner, {"session_name": name}, "rename")

    async def update(self, stored: Stored, owner: str, fields: JsonObject) -> Stored:
        """Sets each of `session_name`, `session_state`, `metadata`, `summary` whole."""
        if "table" in self._place:
            (await self.version()).require(
                Trait.UPDATES_HONOUR_TABLE, "changing this session in the table that --backend names"
            )
        return await self._change("PATCH", stored, owner, fields)

    async def _change(self, method: str, stored: Stored, owner: str, fields: JsonObject, *route: str) -> Stored:
        parameters = self._parameters(owner, **await self._proven_type(stored, owner))
        try:
            reply = await self.http.change(method, path("sessions", stored.id, *route), params=parameters, json=fields)
        except NotFound as error:
            raise absent(stored.id) from error
        return read_session(reply.json(), type=stored.type)

    async def _proven_type(self, stored: Stored, owner: str) -> dict[str, str]:
        """A type is sent wherever it is certain. Without one, agno ≥ 2.6 finds it, and before that nothing is sent."""
        version = await self.version(anew=not stored.is_proven)
        if not stored.is_proven and not version.has(Trait.FINDS_TYPES):
            stored = await self._find_typed(stored.id, owner, "")
        if not version.has(Trait.RUNS_STAND_APART):
            await self._refuse_to_lose_runs(
                stored, owner, is_certain=stored.is_proven or version.has(Trait.FINDS_TYPES)
            )
        return {"type": stored.type} if stored.is_proven or not version.has(Trait.FINDS_TYPES) else {}

    async def _refuse_to_lose_runs(self, stored: Stored, owner: str, *, is_certain: bool) -> None:
        kept = ("workflow_id",) if stored.type == "workflow" else ("agent_id", "team_id")
        runs = (await self.runs(stored.id, owner, stored.type)).json()
        if is_certain and is_array(runs):
            runs = [run for run in runs if not (is_object(run) and any(text(run, key) for key in kept))]
        if runs:
            raise Unsupported(
                "this session holds runs that are not of its own type, and before agno 3.0 any change would erase "
                "them. Upgrade AgentOS first."
            )

    async def delete(self, stored: Stored, owner: str) -> None:
        """AgentOS answers the same whether or not there was such a session."""
        await self.http.change("DELETE", path("sessions", stored.id), params=self._parameters(owner))

    async def types_of(self, component: str) -> Sequence[str]:
        """What on this AgentOS has that id: agents, teams, workflows. Nothing where the credential can't ask."""
        try:
            answer = (await self.http.read("/config")).json()
        except (NotFound, Forbidden, ServerFailed, BadResponse):
            return ()
        found = [(type, answer.get(f"{type}s")) for type in TYPES] if is_object(answer) else []
        return [
            type
            for type, known in found
            if is_array(known) and any(is_object(item) and text(item, "id") == component for item in known)
        ]

    async def _is_at_home(self, stored: Stored) -> bool:
        """Whether the database of --backend is that of the session's agent or team."""
        if "db_id" not in self._place:
            return True
        answer = (await self.http.read("/config")).json()
        known = answer.get(f"{stored.type}s") if is_object(answer) else None
        own = {"id": stored.agent_id, "db_id": self._place["db_id"]}
        return is_array(known) and any(is_object(item) and own.items() <= item.items() for item in known)

    def new_id(self) -> str:
        return str(uuid4())

    async def create(self, session_id: str, owner: str, *, type: str, component: str, fields: JsonObject) -> None:
        """The id must be new: before agno 2.7.4, that of a session there is empties it."""
        if "table" in self._place:
            raise Unsupported("AgentOS makes sessions in its default table only. Leave table out of --backend.")
        content: JsonObject = {"session_id": session_id, **fields}
        content |= {f"{type}_id": component} if component else {}
        content |= {"user_id": owner} if owner else {}
        db_id = self._place.get("db_id")
        parameters = {"type": type} | ({"db_id": db_id} if db_id else {})
        await self.http.change("POST", path("sessions"), params=parameters, json=content, repeatable=False)

    async def is_open_to_anyone(self) -> bool:
        """Whether sessions are shown without a credential, as agno 2.5.6 does under some settings that set a key."""
        try:
            await self.http.bearing(ANONYMOUS).read(path("sessions"), params={**self._place, "limit": 1})
        except (Unauthorized, Forbidden):
            return False
        return True

    async def fork(self, stored: Stored, owner: str) -> str:
        """The fork's id. The route knows neither database nor table: it forks what its agent or team has."""
        if "table" in self._place or not await self._is_at_home(stored):
            raise Unsupported("AgentOS forks only in its agents' own database and default table, not in --backend's.")
        route = path(f"{stored.type}s", stored.agent_id, "sessions", stored.id, "fork")
        parameters = {"user_id": owner} if owner else {}
        reply = await self.http.change("POST", route, params=parameters, json={}, repeatable=False)
        with suppress(BadResponse):
            answer = reply.json()
            if found := text(answer, "session_id") if is_object(answer) else "":
                return found
        raise OutcomeUnknown("AgentOS took the fork, but did not say which session is the new one. List the newest.")

    async def _typed(self, type: str) -> dict[str, str]:
        """What a read says of the type, which agno ≥ 2.6 finds by itself."""
        return {} if (await self.version()).has(Trait.FINDS_TYPES) else {"type": type}

    def _parameters(self, owner: str, **more: str | int) -> Parameters:
        return {**self._place, **({"user_id": owner} if owner else {}), **more}


def absent(session_id: str) -> NotFound:
    return NotFound(
        f"no session {quoted(session_id)}. list_sessions shows those there are; AgentOS has a new one only when its "
        "first run has ended."
    )
