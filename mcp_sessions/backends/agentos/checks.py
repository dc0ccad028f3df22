"""Health checks of an AgentOS: its version, and who can read its sessions."""

from collections.abc import Awaitable, Callable, Mapping

from ..health import CheckResult, Report
from ..http.credentials import ANONYMOUS
from ..http.urls import UNENCRYPTED, is_unencrypted
from .agno_before_2_6_7 import BEFORE, FINDS_TYPES
from .api import Api
from .versions import FORKS, SEPARATE_RUNS, Version

_BEFORE: Mapping[Version, str] = {
    **BEFORE,
    FORKS: "fork_session is refused",
    SEPARATE_RUNS: "a change of a session that has runs of another type is refused, since it would erase them",
}


async def examine(api: Api, check_reachable: Callable[[], Awaitable[None]], report: Report) -> None:
    """Pass each check to `report`. `check_reachable` raises an error if the credential isn't accepted."""
    if is_unencrypted(api.http.address):
        report(CheckResult("encryption", UNENCRYPTED, "warning"))
    if api.http.credential.is_missing:
        await check_reachable()
        report(CheckResult("credential", "each caller has its own, so none can be tried here"))
        return
    version = await api.version(fresh=True)
    report(CheckResult("version", f"AgentOS answers; the version of agno is {version}"))
    _report_version(version, report)
    await check_reachable()
    await _report_access(api, report)


def _report_version(version: Version, report: Report) -> None:
    for needed, harm in _BEFORE.items():
        if version < needed:
            fact = f"before agno {needed}, {harm}"
            read_only_text = "" if needed == FINDS_TYPES else fact  # lists are slow with --read-only too
            report(CheckResult("operations", f"{fact}. Upgrade AgentOS", "warning", read_only_text))


async def _report_access(api: Api, report: Report) -> None:
    named = "the credential" if api.http.credential != ANONYMOUS else "none"
    if not await api.is_open_to_anyone():
        report(CheckResult("credential", f"{named} is accepted, and requests without one are refused"))
    else:
        text = "AgentOS shows its sessions to everybody who can reach it. Configure a security key or JWT in AgentOS"
        report(CheckResult("credential", text, "warning"))
    if not await api.keeps_users_apart():
        text = (
            "AgentOS does not confirm that it keeps users apart: this credential may reach all users' sessions. Limit "
            "this server to one user"
        )
        report(CheckResult("users", text, "warning"))
