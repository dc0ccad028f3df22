"""Results of checking a backend's health, as `mcp-sessions doctor` prints them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. Unless it is `ok`, `text` also says what to do next.

    `read_only_text`: with --read-only, `doctor` shows this text as `ok` instead, since the check concerns only changes.
    "" if the check concerns reading too.
    """

    name: str
    text: str
    status: Literal["ok", "warning", "failed"] = "ok"
    read_only_text: str = ""

    def if_read_only(self) -> "CheckResult":
        """Return the check as it is shown where nothing can be changed."""
        return CheckResult(self.name, self.read_only_text) if self.read_only_text else self


def timeout_check(seconds: float) -> CheckResult:
    """Return the result of checks that did not end in time."""
    return CheckResult("backend", f"timed out after {seconds:g} s. Check whether the backend hangs", "failed")


Report = Callable[[CheckResult], None]
"""A callback that receives each check as soon as it is done."""
