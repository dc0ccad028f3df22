"""Health checks of an opencode server: its version, and who can reach it."""

from collections.abc import Awaitable, Callable

from ...errors import Forbidden, Unauthorized
from ..health import CheckResult, Report
from ..http.credentials import ANONYMOUS
from ..http.urls import UNENCRYPTED, is_unencrypted
from .api import Api

_TESTED_MAJOR = "1."


async def examine(api: Api, check_reachable: Callable[[], Awaitable[None]], report: Report) -> None:
    """Pass each check to `report`. `check_reachable` raises an error if the credential isn't accepted."""
    if is_unencrypted(api.http.address):
        report(CheckResult("encryption", UNENCRYPTED, "warning"))
    if api.http.credential.is_missing:
        await check_reachable()
        report(CheckResult("credential", "each caller has its own, so none can be tried here"))
        return
    version = await api.version()
    report(CheckResult("version", f"opencode {version} answers"))
    if not version.startswith(_TESTED_MAJOR):
        text = f"opencode {version} is not a version that this backend knows. Look for a newer mcp-sessions"
        report(CheckResult("version", text, "warning"))
    await check_reachable()
    await _report_access(api, report)


async def _report_access(api: Api, report: Report) -> None:
    try:
        await Api(api.http.with_credential(ANONYMOUS)).version()
    except (Unauthorized, Forbidden):
        report(CheckResult("credential", "the password is accepted, and requests without one are refused"))
        return
    text = (
        "opencode accepts requests without a password, so every program on this machine can use it. "
        "Set OPENCODE_SERVER_PASSWORD for the server, and the same password here"
    )
    report(CheckResult("credential", text, "warning"))
