"""What an AgentOS does, by the version of agno that it runs. Source: facts measured on 2.5.6, 2.9.0 and 3.1.10, and
the routes in the packages of the versions between."""

import re
from enum import StrEnum, auto
from typing import NamedTuple

import anyio

from ...errors import BadResponse, NotFound, Unsupported
from ...json_documents import Json, is_array, is_object
from ..http.client import HttpClient


class Trait(StrEnum):
    """Behaviour that came with a version; `SINCE` has which."""

    FINDS_TYPES = auto()
    """A session is found without its type, every write goes to the true one, and a list has all types, with type,
    owner, component and metadata in each item. Before it, `type` is `agent` unless given, and a write with a wrong
    type erases all runs of a workflow session."""
    UPDATES_HONOUR_TABLE = auto()
    """PATCH changes the table that is named. Before it, the default one: another session of the same id, if any."""
    RUNS_STAND_APART = auto()
    """Runs are rows of their own. Before it, each change writes a session's runs anew, and drops those that are of
    another type than the session: a workflow's that was run in an agent's session."""
    FORKS = auto()
    """Sessions of agents and teams can be forked."""
    SHOWS_PREVIEWS = auto()
    """Runs come without their messages, inputs and outputs cut at 280 characters, for a fraction of the bytes."""


SINCE: dict[Trait, tuple[int, int, int]] = {
    Trait.FINDS_TYPES: (2, 6, 0),
    Trait.UPDATES_HONOUR_TABLE: (2, 6, 7),
    Trait.FORKS: (2, 7, 0),
    Trait.RUNS_STAND_APART: (3, 0, 0),
    Trait.SHOWS_PREVIEWS: (3, 1, 4),
}
_VERSION_SECONDS = 30
OLDEST = (2, 5, 3)  # before it, renaming and deleting know no user


class Version(NamedTuple):
    major: int
    minor: int
    patch: int

    def has(self, trait: Trait) -> bool:
        return self >= SINCE[trait]

    def require(self, trait: Trait, what: str) -> None:
        """Raise `Unsupported`, naming the version that can."""
        if not self.has(trait):
            needed = ".".join(map(str, SINCE[trait]))
            raise Unsupported(f"{what} needs agno {needed} or newer; this AgentOS runs {self}. Upgrade it.")

    def __str__(self) -> str:
        return "one before 2.5.13" if self == OLDEST else ".".join(map(str, self[:]))


class KnownVersion:
    """Asked for every half minute, since an AgentOS may come back from a restart as another version."""

    def __init__(self) -> None:
        self._version: Version | None = None
        self._asked_at = 0.0
        self._finding = anyio.Lock()

    async def get(self, http: HttpClient, *, anew: bool = False) -> Version:
        asked_at = anyio.current_time()
        if anew or self._version is None or asked_at > self._asked_at + _VERSION_SECONDS:
            async with self._finding:
                if self._version is None or self._asked_at < asked_at - (0 if anew else _VERSION_SECONDS):
                    self._version = await find_version(http)
                    self._asked_at = anyio.current_time()
        return self._version


async def find_version(http: HttpClient) -> Version:
    """By `/info` (agno ≥ 2.5.13), else by what `/openapi.json` says of the routes; neither needs a credential."""
    try:
        info = (await http.read("/info")).json()
    except NotFound:
        return await _by_routes(http)
    number = info.get("agno_version") if is_object(info) else None
    found = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", number) if isinstance(number, str) else None
    if found is None:
        raise BadResponse("the server in --backend is no AgentOS. Check the address.")
    return _supported(Version(*map(int, found.groups())))


async def _by_routes(http: HttpClient) -> Version:
    try:
        description = (await http.read("/openapi.json")).json()
    except NotFound:
        # An AgentOS may hide its description; what is safe on the oldest is safe on all.
        if await _is_healthy(http):
            return Version(*OLDEST)
        raise BadResponse("the server in --backend is no AgentOS. Check the address and path.") from None
    routes = description.get("paths") if is_object(description) else None
    if not is_object(routes) or "/sessions/{session_id}" not in routes:
        raise BadResponse("the server in --backend is no AgentOS. Check the address.")
    deleting = _parameters(routes, "/sessions/{session_id}", "delete")
    return _supported(Version(*OLDEST) if "user_id" in deleting else Version(2, 0, 0))


async def _is_healthy(http: HttpClient) -> bool:
    try:
        answer = (await http.read("/health")).json()
    except (NotFound, BadResponse):
        return False
    return is_object(answer) and "status" in answer


def _parameters(routes: dict[str, Json], route: str, method: str) -> set[str]:
    described = routes.get(route)
    operation = described.get(method) if is_object(described) else None
    parameters = operation.get("parameters") if is_object(operation) else None
    return {str(item.get("name")) for item in parameters if is_object(item)} if is_array(parameters) else set()


def _supported(version: Version) -> Version:
    if version < OLDEST:
        raise Unsupported("this AgentOS runs an agno older than 2.5.3, which mixes users up. Upgrade it.")
    return version
