"""What can be said of a Guayaba and a key for it before its sessions are touched."""

from collections.abc import Awaitable, Callable, Mapping

from ...errors import quoted
from ..base import Check, Tell
from ..http.urls import READABLE, is_readable
from .directory import Directory


async def examine(
    directory: Directory,
    agents_of: Mapping[str, frozenset[str]],
    check_reachable: Callable[[], Awaitable[None]],
    tell: Tell,
) -> None:
    """`check_reachable` raises where the key isn't accepted, or lacks the scope."""
    api = directory.api
    if is_readable(api.http.address):
        tell(Check("encryption", READABLE, "warning"))
    await check_reachable()
    if api.http.credential.is_missing:
        tell(Check("credential", "each caller's own, so that none can be tried here"))
        return
    tell(Check("credential", f"{'an agent' if api.is_an_agents else 'a master'} key, which may list sessions"))
    if directory.spans_agents or agents_of:
        agents, _ = await api.agents()
        text = f"{len(agents):,} could be listed" if agents else "the key's owner has none, so there are no sessions"
        tell(Check("agents", text, "ok" if agents else "warning"))
        _tell_of_strangers(frozenset(agents), agents_of, tell)


def _tell_of_strangers(agents: frozenset[str], agents_of: Mapping[str, frozenset[str]], tell: Tell) -> None:
    for user, named in agents_of.items():
        for agent in sorted(named - agents):
            text = f"{agent}, which --agents names for {quoted(user)}, is not among them. Correct the file, or the key"
            tell(Check("agents", text, "warning"))
