"""Who is calling, and what a narrowed caller may touch."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from .errors import Forbidden


class Scope(StrEnum):
    READ = "sessions:read"
    WRITE = "sessions:write"
    DELETE = "sessions:delete"


async def _unheard(progress: float, message: str) -> None:
    """What nobody asked for goes nowhere."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller of one request.

    `user_id` is the only user whose sessions the caller sees and changes; "" sees everybody's.
    `credential` is what the backend's system is called with; "" for the one it was opened with.
    `progress` tells the caller how far a long call has come: a number that grows, and what it counts.
    `present` is stored text as the caller may see it: a search finds nothing that it hides.
    """

    subject: str = "operator"
    user_id: str = ""
    scopes: frozenset[Scope] = frozenset(Scope)
    credential: str = field(default="", repr=False)
    present: Callable[[str], str] = str
    progress: Callable[[float, str], Awaitable[None]] = _unheard

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden`, naming the scope, unless the caller holds it."""
        if scope not in self.scopes:
            raise Forbidden(f"this token lacks the scope {scope}. Ask its issuer for it.")
