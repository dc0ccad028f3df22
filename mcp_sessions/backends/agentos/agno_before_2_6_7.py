"""Everything that exists only for agno before 2.6.7. Delete this module when `versions.OLDEST` rises to that version.

How these versions differ:

* Before 2.5.13, there is no `/info`, so the version is guessed from the routes that exist.
* Before 2.6.0, AgentOS doesn't look up the type of a session: it takes the type from the request's `type`, or `agent`.
  It returns a session as the type that the request names, and a write with a wrong type erases all runs of a workflow
  session. A list has sessions of one type only, and its items have no type, owner, component or metadata.
* Before 2.6.7, PATCH ignores `table`: it changes the session with the same id in the default table instead.

To delete this module, use `Api` in place of `ApiOfAnyVersion` and `fetch_version` in place of `fetch_any_version` in
`accounts.py` and `backend.py`, always use `Walk` in `listing.py`, and drop `BEFORE` from `checks.py`.
`MergedStream` in `pages.py` then has one stream only, and a `Stream` can take its place.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ...errors import BadResponse, NotFound, Unsupported
from ...json_documents import Json, JsonObject, is_array, is_object
from ...models import SessionFilter
from ..gather import map_concurrently
from ..http.client import HttpClient, Reply, ServerFailed
from .api import Api, runs_would_be_erased
from .api_errors import not_found
from .page_reader import UpstreamPage
from .session_paths import PYTHON_API, UNADDRESSABLE
from .versions import OLDEST, NoVersionRoute, Version, VersionCache, fetch_version, too_old
from .walk import Walk, WalkItem, Wanted
from .wire import ARCHIVED_AT, TYPES, AgentOsSession, component_type, read_session

FINDS_TYPES = Version(2, 6, 0)
"""AgentOS looks up the type of a session, and a list has sessions of all types, with all fields."""
UPDATES_HONOUR_TABLE = Version(2, 6, 7)
"""PATCH changes the session in the table that the request names."""
BEFORE = {
    FINDS_TYPES: "a change with a wrong type erases runs, so changes need more requests, and lists are slow",
    UPDATES_HONOUR_TABLE: "changes are refused where the backend's URL names a table",
}
"""What `doctor` reports if AgentOS runs an earlier version."""
_MAX_TYPES = 10_000


class ApiOfAnyVersion(Api):
    """`Api` for all versions of agno from `OLDEST` on.

    It remembers the type that each session had when it was last read, and sends it to the versions that need it.
    """

    def __init__(self, http: HttpClient, version: VersionCache, *, db_id: str, table: str) -> None:
        super().__init__(http, version, db_id=db_id, table=table)
        self._types: dict[str, str] = {}
        """The types of team and workflow sessions by their ids, the newest last."""

    def _remember(self, session_id: str, type: str) -> None:
        self._types.pop(session_id, None)
        if type != "agent":
            self._types[session_id] = type
            if len(self._types) > _MAX_TYPES:
                del self._types[next(iter(self._types))]

    async def check_access(self, session_id: str, owner: str) -> None:
        if await self.version() < FINDS_TYPES:
            await self.find(session_id, owner)  # learns the type, which the next requests need
        else:
            await super().check_access(session_id, owner)

    async def _read_session(self, session_id: str, owner: str) -> AgentOsSession:
        if await self.version() < FINDS_TYPES:
            return (await self._find_type(session_id, owner))[0]
        found = await super()._read_session(session_id, owner)
        self._remember(session_id, found.type)
        return found

    async def _find_type(self, session_id: str, owner: str) -> tuple[AgentOsSession, bool]:
        """Return a session, and whether its type is certain.

        The id of its component proves the type. On PostgreSQL, only a request with the session's own type finds it,
        which proves the type too. On other databases, requests of several types find a session without a component,
        which is then returned as an agent's session.
        """
        first = self._types.get(session_id, "agent")
        candidates: list[AgentOsSession] = []
        failure: ServerFailed | None = None
        for type in sorted(TYPES, key=lambda known: known != first):
            try:
                answer = (await self._read(session_id, owner, type=type)).json()
            except NotFound:
                continue
            except ServerFailed as error:
                failure = error
                continue
            candidates.append(read_session(answer, type=type))
            if component_type(answer) == type:
                candidates, failure = candidates[-1:], None
                break
        if not candidates:
            raise failure or not_found(session_id)
        is_certain = len(candidates) == 1 and failure is None
        found = candidates[0] if is_certain else replace(candidates[0], type="agent", agent_id="")
        self._remember(session_id, found.type)
        return found, is_certain

    async def _read(self, session_id: str, owner: str, *route: str, **query: str) -> Reply:
        if route and await self.version() < FINDS_TYPES:
            query["type"] = self._types.get(session_id, "agent")
        return await super()._read(session_id, owner, *route, **query)

    async def list_page(
        self, owner: str, *, type: str, component: str, by: str, order: str, page: int, size: int
    ) -> UpstreamPage:
        listed = await super().list_page(
            owner, type=type, component=component, by=by, order=order, page=page, size=size
        )
        rows = [replace(row, type=type) for row in listed.rows] if type else listed.rows
        for row in rows:
            self._remember(row.id, row.type)
        return UpstreamPage(rows, listed.total)

    async def update(self, session: AgentOsSession, owner: str, fields: JsonObject) -> AgentOsSession:
        if "table" in self._database:
            (await self.version()).require(
                UPDATES_HONOUR_TABLE, "changing this session in the table that the backend's URL names"
            )
        return await super().update(session, owner, fields)

    async def _change(
        self, method: str, session: AgentOsSession, owner: str, fields: JsonObject, *route: str, **query: str
    ) -> AgentOsSession:
        """Change a session. Send its type if its component proves it, since AgentOS may just have been downgraded."""
        if session.agent_id:
            self._remember(session.id, session.type)
            query["type"] = session.type
        elif await self.version(fresh=True) < FINDS_TYPES:
            session, is_certain = await self._find_type(session.id, owner)
            if not is_certain and (await self.runs(session.id, owner)).json():
                raise runs_would_be_erased()
            query["type"] = session.type
        return await super()._change(method, session, owner, fields, *route, **query)

    async def create(self, session_id: str, owner: str, *, type: str, component: str, fields: JsonObject) -> None:
        if type != "agent" and not component and await self.version() < FINDS_TYPES:
            raise Unsupported(
                f'this AgentOS finds a session of type {type} only by its {type}. Give the {type}\'s id as "agent_id".'
            )
        self._remember(session_id, type)
        await super().create(session_id, owner, type=type, component=component, fields=fields)

    async def keeps_users_apart(self) -> bool:
        try:
            return await super().keeps_users_apart()
        except NotFound:  # before agno 2.5.13
            return False


class WalkWithoutDetails(Walk):
    """`Walk` before agno 2.6: a list has one type only and lacks fields, so each session is requested separately."""

    _failed_detail_count = 0
    _left_out_count = 0

    @staticmethod
    def list_types(filter: SessionFilter) -> Sequence[str]:
        return (filter.type,) if filter.type else TYPES

    @property
    def failed_count(self) -> int:
        return super().failed_count + self._failed_detail_count

    def gap_note(self) -> str:
        left_out = (
            f"{self._left_out_count} session(s) are left out, because their user and archive status are unknown: "
            f"{UNADDRESSABLE}. To open them, use {PYTHON_API}."
            if self._left_out_count
            else ""
        )
        return f"{super().gap_note()} {left_out}".strip()

    def unaddressable_note(self, sessions: Sequence[AgentOsSession]) -> str:
        note = super().unaddressable_note(sessions)
        return note and f"{note} Their agent, user and archive status are unknown."

    async def next(self, count: int, wanted: Wanted) -> list[tuple[WalkItem, bool]]:
        return await map_concurrently(partial(self._load_details, wanted), await self._take(count))

    async def _load_details(self, wanted: Wanted, item: WalkItem) -> tuple[WalkItem, bool]:
        # The list lacks `archived_at`: assume that it matches the filter, and skip sessions that don't match anyway.
        presumed = replace(item.session, metadata={ARCHIVED_AT: True}) if self._filter.archived else item.session
        if not wanted(presumed):
            return item, False
        try:
            session = await self._api.find(item.session.id, self._owner)
        except NotFound:
            return item, False  # removed meanwhile
        except ServerFailed:
            self._failed_detail_count += 1
            return item, False
        except Unsupported:  # the id can't be part of a path
            # The session's user and archive status are unknown: leave it out if either matters.
            is_left_out = bool(self._owner) or self._filter.archived
            self._left_out_count += is_left_out
            return item, not is_left_out
        return item._replace(session=session), wanted(session)


class UnknownVersion(Version):
    """The version of an AgentOS that has no `/info`: at least `OLDEST`, and before 2.5.13."""

    def __str__(self) -> str:
        return "a version before 2.5.13"


async def fetch_any_version(http: HttpClient) -> Version:
    """Return the version that `/info` names, or `OLDEST` if the routes in `/openapi.json` are those of an AgentOS.

    Neither needs a credential. Raise `BadResponse` if the server is no AgentOS, `Unsupported` if it is too old.
    """
    try:
        return await fetch_version(http)
    except NoVersionRoute as error:
        try:
            description = (await http.read("/openapi.json")).json()
        except NotFound:
            # An AgentOS may hide this document. Assume the oldest version: what is safe with that version is safe with
            # all.
            if await _is_healthy(http):
                return UnknownVersion(*OLDEST)
            raise error from None
        routes = description.get("paths") if is_object(description) else None
        if not is_object(routes) or "/sessions/{session_id}" not in routes:
            raise error from None
        if "user_id" not in _parameter_names(routes, "/sessions/{session_id}", "delete"):
            raise too_old() from None
        return UnknownVersion(*OLDEST)


async def _is_healthy(http: HttpClient) -> bool:
    try:
        answer = (await http.read("/health")).json()
    except (NotFound, BadResponse):
        return False
    return is_object(answer) and "status" in answer


def _parameter_names(routes: dict[str, Json], route: str, method: str) -> set[str]:
    described = routes.get(route)
    operation = described.get(method) if is_object(described) else None
    parameters = operation.get("parameters") if is_object(operation) else None
    return {str(item.get("name")) for item in parameters if is_object(item)} if is_array(parameters) else set()
