"""The checks of `mcp-sessions doctor` on several members."""

from collections.abc import Sequence
from dataclasses import replace

import anyio

from ....errors import SessionsError
from ...gather import map_concurrently
from ...health import Check, Report, timed_out
from .members import Member


async def examine_all(members: Sequence[Member], report: Report) -> None:
    """Examine the members at the same time. Report each one's checks with its name, in the order of the members."""
    for checks in await map_concurrently(_examine, members):
        for check in checks:
            report(check)


async def _examine(member: Member) -> list[Check]:
    checks: list[Check] = []
    seconds = member.backend.options.timeout
    try:
        with anyio.fail_after(seconds):
            await member.backend.examine(checks.append)
    except SessionsError as error:
        checks.append(Check("backend", str(error), "failed"))
    except TimeoutError:
        checks.append(timed_out(seconds))
    return [replace(check, name=f"{member.name}: {check.name}" if member.name else check.name) for check in checks]
