"""The caller of a request: user, scopes and credential."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .errors import Forbidden


class Scope(StrEnum):
    """A permission of a caller."""

    READ = "sessions:read"
    WRITE = "sessions:write"
    DELETE = "sessions:delete"


async def _ignore_progress(progress: float, message: str) -> None:
    """Ignore a progress report. The default of `Caller.progress`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request.

    `user_id`: the caller reads and changes only this user's sessions; "" means all sessions.
    `credential`: the caller's credential for the backend's system; "" means the one that the backend was opened with.
    `credentials`: with several backends, the caller's credentials by backend name.
    `sanitize`: returns stored text as the caller may see it. Searches match only the text that it returns.
    `progress`: reports the progress of a long call to the client, as a growing number and a message.
    """

    subject: str = "operator"
    user_id: str = ""
    scopes: frozenset[Scope] = frozenset(Scope)
    credential: str = field(default="", repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)
    sanitize: Callable[[str], str] = str
    progress: Callable[[float, str], Awaitable[None]] = _ignore_progress

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden`, which names the scope, unless the caller has it."""
        if scope not in self.scopes:
            raise Forbidden(f"this token lacks the scope {scope}. Ask its issuer for it.")

    def for_backend(self, name: str) -> "Caller":
        """Return this caller with the credential for the backend of this name, never another backend's."""
        return replace(self, credential=self.credentials.get(name, "")) if name else self
