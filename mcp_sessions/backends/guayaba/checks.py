"""Health checks of Guayaba and of a key for it."""

from collections.abc import Awaitable, Callable, Mapping

from ...errors import quoted
from ..health import CheckResult, Report
from ..http.urls import UNENCRYPTED, is_unencrypted
from .directory import Directory


async def examine(
    directory: Directory,
    agents_of: Mapping[str, frozenset[str]],
    check_reachable: Callable[[], Awaitable[None]],
    report: Report,
) -> None:
    """Pass each check to `report`. `check_reachable` raises an error if the key isn't accepted or lacks the scope."""
    api = directory.api
    if is_unencrypted(api.http.address):
        report(CheckResult("encryption", UNENCRYPTED, "warning"))
    await check_reachable()
    if api.http.credential.is_missing:
        report(CheckResult("credential", "each caller has its own, so none can be tried here"))
        return
    report(CheckResult("credential", f"{'an agent' if api.is_agent_key else 'a master'} key, which may list sessions"))
    if directory.spans_agents or agents_of:
        agents, _ = await api.agents()
        text = (
            f"{len(agents):,} could be listed" if agents else "the key's owner has no agents, so there are no sessions"
        )
        report(CheckResult("agents", text, "ok" if agents else "warning"))
        _report_unknown_agents(frozenset(agents), agents_of, report)


def _report_unknown_agents(agents: frozenset[str], agents_of: Mapping[str, frozenset[str]], report: Report) -> None:
    for user, named in agents_of.items():
        for agent in sorted(named - agents):
            text = f"the key can't reach {agent}, an agent of {quoted(user)}. Correct the option agents or the key"
            report(CheckResult("agents", text, "warning"))
