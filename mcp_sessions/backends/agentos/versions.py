"""The version of agno that an AgentOS runs, and which features came with which version.

Sources: tests against 2.5.6, 2.9.0 and 3.1.10, and the routes in the packages of the versions between.
"""

import re
from enum import StrEnum, auto
from typing import NamedTuple

import anyio

from ...errors import BadResponse, NotFound, Unsupported
from ...json_documents import Json, is_array, is_object
from ..http.client import HttpClient


class Feature(StrEnum):
    """A behaviour that came with a version of agno, which `SINCE` has."""

    FINDS_TYPES = auto()
    """AgentOS finds a session and its type by the id, for reads and writes. A list has sessions of all types, with
    type, owner, component and metadata in each item. Earlier versions use type `agent` unless `type` is sent, and a
    write with a wrong type erases all runs of a workflow session."""
    UPDATES_HONOUR_TABLE = auto()
    """PATCH changes the session in the table that the request names. Earlier versions change the session with the same
    id in the default table instead."""
    RUNS_STAND_APART = auto()
    """Runs are rows of their own. In earlier versions, each write stores all runs of the session again, except for
    those of another type than the session's, such as a workflow's run in an agent's session: these are erased."""
    FORKS = auto()
    """Sessions of agents and teams can be forked."""
    SHOWS_PREVIEWS = auto()
    """A route returns previews of runs, without messages and with inputs and outputs cut at 280 characters."""


SINCE: dict[Feature, tuple[int, int, int]] = {
    Feature.FINDS_TYPES: (2, 6, 0),
    Feature.UPDATES_HONOUR_TABLE: (2, 6, 7),
    Feature.FORKS: (2, 7, 0),
    Feature.RUNS_STAND_APART: (3, 0, 0),
    Feature.SHOWS_PREVIEWS: (3, 1, 4),
}
_VERSION_SECONDS = 30
OLDEST = (2, 5, 3)  # earlier versions ignore the user when they rename and delete


class Version(NamedTuple):
    """A version of agno."""

    major: int
    minor: int
    patch: int

    def has(self, feature: Feature) -> bool:
        """Return whether this version has the feature."""
        return self >= SINCE[feature]

    def require(self, feature: Feature, operation: str) -> None:
        """Raise `Unsupported`, with the version that is needed for the operation, if this one lacks the feature."""
        if not self.has(feature):
            needed = ".".join(map(str, SINCE[feature]))
            raise Unsupported(f"{operation} needs agno {needed} or newer; this AgentOS runs {self}. Upgrade it.")

    def __str__(self) -> str:
        return "a version before 2.5.13" if self == OLDEST else ".".join(map(str, self[:]))


class VersionCache:
    """The version of an AgentOS, requested again every half minute: it may have been upgraded and restarted."""

    def __init__(self) -> None:
        self._version: Version | None = None
        self._requested_at = 0.0
        self._lock = anyio.Lock()

    async def get(self, http: HttpClient, *, fresh: bool = False) -> Version:
        """Return the version. `fresh`: request it even if it is cached."""
        now = anyio.current_time()
        if fresh or self._version is None or now > self._requested_at + _VERSION_SECONDS:
            async with self._lock:
                if self._version is None or self._requested_at < now - (0 if fresh else _VERSION_SECONDS):
                    self._version = await fetch_version(http)
                    self._requested_at = anyio.current_time()
        return self._version


async def fetch_version(http: HttpClient) -> Version:
    """Return the version that `/info` names (agno ≥ 2.5.13), or one that fits the routes in `/openapi.json`.

    Neither needs a credential. Raise `BadResponse` if the server is no AgentOS, `Unsupported` if it is too old.
    """
    try:
        info = (await http.read("/info")).json()
    except NotFound:
        return await _version_from_routes(http)
    number = info.get("agno_version") if is_object(info) else None
    found = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", number) if isinstance(number, str) else None
    if found is None:
        raise BadResponse("the server at the backend's URL is not an AgentOS. Check the address.")
    return _require_supported(Version(*map(int, found.groups())))


async def _version_from_routes(http: HttpClient) -> Version:
    try:
        description = (await http.read("/openapi.json")).json()
    except NotFound:
        # An AgentOS may hide this document. What is safe with the oldest version is safe with all.
        if await _is_healthy(http):
            return Version(*OLDEST)
        raise BadResponse("the server at the backend's URL is not an AgentOS. Check the address and path.") from None
    routes = description.get("paths") if is_object(description) else None
    if not is_object(routes) or "/sessions/{session_id}" not in routes:
        raise BadResponse("the server at the backend's URL is not an AgentOS. Check the address.")
    parameters = _parameter_names(routes, "/sessions/{session_id}", "delete")
    return _require_supported(Version(*OLDEST) if "user_id" in parameters else Version(2, 0, 0))


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


def _require_supported(version: Version) -> Version:
    if version < OLDEST:
        raise Unsupported("this AgentOS runs an agno older than 2.5.3, which does not keep users apart. Upgrade it.")
    return version
