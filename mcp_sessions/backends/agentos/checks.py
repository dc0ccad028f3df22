"""What can be said of an AgentOS before its sessions are touched."""

from collections.abc import Awaitable, Callable, Mapping

from ...errors import NotFound
from ...json_documents import is_object
from ..base import Check, Tell
from ..http.credentials import ANONYMOUS
from ..http.urls import READABLE, is_readable
from .api import Api
from .versions import SINCE, Trait, Version

_BEFORE: Mapping[Trait, str] = {
    Trait.FINDS_TYPES: "a change with a wrong type erases runs, so more is asked before each, and lists are slow",
    Trait.UPDATES_HONOUR_TABLE: "changes are refused where --backend names a table",
    Trait.FORKS: "fork_session is refused",
    Trait.RUNS_STAND_APART: "a change of a session can erase runs of another type, so that of such a one is refused",
}


async def examine(api: Api, check_reachable: Callable[[], Awaitable[None]], tell: Tell) -> None:
    """`check_reachable` raises where the credential isn't accepted."""
    if is_readable(api.http.address):
        tell(Check("encryption", READABLE, "warning"))
    if api.http.credential.is_missing:
        await check_reachable()
        tell(Check("credential", "each caller's own, so that none can be tried here"))
        return
    version = await api.version(anew=True)
    tell(Check("version", f"AgentOS answers; the version of agno is {version}"))
    _tell_of_version(version, tell)
    await check_reachable()
    await _tell_of_access(api, tell)


def _tell_of_version(version: Version, tell: Tell) -> None:
    for trait, harm in _BEFORE.items():
        if not version.has(trait):
            since = ".".join(map(str, SINCE[trait]))
            tell(Check("operations", f"before agno {since}, {harm}. Upgrade AgentOS", "warning"))


async def _tell_of_access(api: Api, tell: Tell) -> None:
    named = "the credential" if api.http.credential != ANONYMOUS else "none"
    if not await api.is_open_to_anyone():
        tell(Check("credential", f"{named} is accepted, and nobody is let in without"))
    else:
        text = "AgentOS shows its sessions to everybody who reaches it. Set a security key there, or JWT"
        tell(Check("credential", text, "warning"))
    if not await _keeps_users_apart(api):
        text = (
            "AgentOS isn't known to keep users apart: this credential may reach everybody's sessions. --user narrows "
            "what is seen here"
        )
        tell(Check("users", text, "warning"))


async def _keeps_users_apart(api: Api) -> bool:
    try:
        info = (await api.http.read("/info")).json()
    except NotFound:  # before agno 2.5.13
        return False
    return is_object(info) and info.get("user_isolation") is True
