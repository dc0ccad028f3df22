"""Health checks of Guayaba and of a key for it."""

from collections.abc import Awaitable, Callable, Mapping

from ...errors import quoted
from ..health import Check, Report
from ..http.urls import UNENCRYPTED, is_unencrypted
from .directory import Directory


async def examine(
    directory: Directory,
    agents_of: Mapping[str, frozenset[str]],
    check_reachable: Callable[[], Awaitable[None]],
    tell: Report,
) -> None:
    """Report the checks to `tell`. `check_reachable` raises an error if the key isn't accepted or lacks the scope."""
    api = directory.api
    if is_unencrypted(api.http.address):
        tell(Check("encryption", UNENCRYPTED, "warning"))
    await check_reachable()
    if api.http.credential.is_missing:
        tell(Check("credential", "each caller has its own, so none can be tried here"))
        return
    tell(Check("credential", f"{'an agent' if api.is_agent_key else 'a master'} key, which may list sessions"))
    if directory.spans_agents or agents_of:
        agents, _ = await api.agents()
        text = (
            f"{len(agents):,} could be listed" if agents else "the key's owner has no agents, so there are no sessions"
        )
        tell(Check("agents", text, "ok" if agents else "warning"))
        _report_unknown_agents(frozenset(agents), agents_of, tell)


def _report_unknown_agents(agents: frozenset[str], agents_of: Mapping[str, frozenset[str]], tell: Report) -> None:
    for user, named in agents_of.items():
        for agent in sorted(named - agents):
            text = f"{agent}, named for {quoted(user)}, is not among them. Correct the file of agents or the key"
            tell(Check("agents", text, "warning"))
