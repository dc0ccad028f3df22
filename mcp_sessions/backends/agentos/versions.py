"""The version of agno that an AgentOS runs, and the versions that introduced a feature.

Sources: tests against 2.5.6, 2.9.0 and 3.1.10, and the routes in the packages of the versions in between.
"""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio

from ...errors import BadResponse, NotFound, Unsupported
from ...json_documents import is_object
from ..http.client import HttpClient

_VERSION_SECONDS = 30


class Version(NamedTuple):
    """A version of agno."""

    major: int
    minor: int
    patch: int

    def require(self, needed: "Version", operation: str) -> None:
        """Raise `Unsupported` if the operation needs a newer version than this one."""
        if self < needed:
            raise Unsupported(f"{operation} needs agno {needed} or newer; this AgentOS runs {self}. Upgrade it.")

    def __str__(self) -> str:
        return ".".join(map(str, self))


OLDEST = Version(2, 5, 3)
"""The oldest version that is supported. Earlier versions ignore the user when they rename and delete sessions."""
FORKS = Version(2, 7, 0)
"""Sessions of agents and teams can be forked."""
SEPARATE_RUNS = Version(3, 0, 0)
"""Runs are rows of their own. In earlier versions, each write stores all runs of the session again, except for those of
another type than the session's, such as a workflow's run in an agent's session: these are erased."""
PREVIEWS = Version(3, 1, 4)
"""A route returns previews of runs, without messages and with inputs and outputs cut at 280 characters."""


class VersionCache:
    """The version of an AgentOS, requested again every half minute: it may have been upgraded and restarted."""

    def __init__(self, fetch: Callable[[HttpClient], Awaitable[Version]]) -> None:
        self._fetch = fetch
        self._version: Version | None = None
        self._requested_at = 0.0
        self._lock = anyio.Lock()

    async def get(self, http: HttpClient, *, fresh: bool = False) -> Version:
        """Return the version. `fresh`: request the version even if it is cached."""
        now = anyio.current_time()
        if fresh or self._version is None or now > self._requested_at + _VERSION_SECONDS:
            async with self._lock:
                if self._version is None or self._requested_at < now - (0 if fresh else _VERSION_SECONDS):
                    self._version = await self._fetch(http)
                    self._requested_at = anyio.current_time()
        return self._version


class NoVersionRoute(BadResponse):
    """The server has no route `/info`."""

    def __init__(self) -> None:
        super().__init__("the server at the backend's URL is not an AgentOS. Check the address.")


async def fetch_version(http: HttpClient) -> Version:
    """Return the version that `/info` names, which needs no credential.

    Raise `BadResponse` if the server is not an AgentOS, `Unsupported` if it is too old.
    """
    try:
        info = (await http.read("/info")).json()
    except NotFound as error:
        raise NoVersionRoute from error
    number = info.get("agno_version") if is_object(info) else None
    found = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", number) if isinstance(number, str) else None
    if found is None:
        raise BadResponse("the server at the backend's URL is not an AgentOS. Check the address.")
    version = Version(*map(int, found.groups()))
    if version < OLDEST:
        raise too_old()
    return version


def too_old() -> Unsupported:
    """Return the error for an AgentOS whose version is not supported."""
    return Unsupported(f"this AgentOS runs an agno older than {OLDEST}, which does not keep users apart. Upgrade it.")
