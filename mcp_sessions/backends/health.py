"""Results of checking a backend's health, as `mcp-sessions doctor` prints them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. Unless it is `ok`, `text` also says what to do next."""

    name: str
    text: str
    status: Literal["ok", "warning", "failed"] = "ok"


Report = Callable[[Check], None]
"""A callback that receives each check as soon as it is done."""
