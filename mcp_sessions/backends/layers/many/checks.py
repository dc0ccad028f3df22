"""The checks of `mcp-sessions doctor` on several members."""

from collections.abc import Sequence
from dataclasses import replace

import anyio

from ....errors import SessionsError
from ...gather import map_concurrently
from ...health import CheckResult, Report, timeout_check
from .ids import SEPARATOR
from .members import Member


async def examine_all(members: Sequence[Member], report: Report) -> None:
    """Examine all members concurrently. Report their checks in order, each with its member's name."""
    for checks in await map_concurrently(_examine, members):
        for check in checks:
            report(check)
    report(_ids_check(members))


def _ids_check(members: Sequence[Member]) -> CheckResult:
    """Return a check that says what the session ids of each member begin with."""
    names = [member.name for member in members if member.name]
    text = f"session ids begin with {', '.join(name + SEPARATOR for name in names)}"
    unnamed = [member.label for member in members if not member.name]
    if unnamed:
        text += f". Those of {unnamed[0]} have no prefix, or only {SEPARATOR} if they begin like one of these"
    return CheckResult("ids", text)


async def _examine(member: Member) -> list[CheckResult]:
    checks: list[CheckResult] = []
    seconds = member.backend.options.timeout
    try:
        with anyio.fail_after(seconds):
            await member.backend.examine(checks.append)
    except SessionsError as error:
        checks.append(CheckResult("backend", str(error), "failed"))
    except TimeoutError:
        checks.append(timeout_check(seconds))
    return [replace(check, name=f"{member.name}: {check.name}" if member.name else check.name) for check in checks]
