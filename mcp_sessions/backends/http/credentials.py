"""What a system is called with, the operator's credential or a caller's own, and what is known with each."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ...caller import Caller
from ...errors import Invalid, Unauthorized

_MOST_CHARACTERS = 16 * 1024
_MOST_KEPT = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer token. `is_callers`: callers have one each; `Credential("", is_callers=True)` is one that is missing."""

    token: str = field(default="", repr=False)
    is_callers: bool = False

    @property
    def is_missing(self) -> bool:
        return self.is_callers and not self.token

    @property
    def name(self) -> str:
        """What it is in a sentence."""
        return "your own credential" if self.is_callers else "the credential in MCP_SESSIONS_TOKEN"

    @property
    def refusal(self) -> str:
        """What a system did that doesn't accept it, and what to do next."""
        if self.is_callers:
            return "refused your own credential. Replace it with one that it accepts."
        if self.token:
            return "refused the credential. Set MCP_SESSIONS_TOKEN to one that it accepts."
        return "asks for a credential, and MCP_SESSIONS_TOKEN is not set. Set it."

    def check(self) -> None:
        """Raise `Invalid`, or `Unauthorized` for a caller's, without the value, if no header can carry it."""
        visible = self.token.isascii() and self.token.isprintable() and " " not in self.token
        if visible and len(self.token) <= _MOST_CHARACTERS:
            return
        unfit = "holds a space, a line break or a character that no header can carry, or is longer than 16 KB"
        if self.is_callers:
            raise Unauthorized(f"{self.name} {unfit}. Send another.")
        raise Invalid(f"MCP_SESSIONS_TOKEN {unfit}. Set it anew.")

    def require(self) -> None:
        """Raise `Unauthorized` where it is missing: a caller's calls are never made with another's."""
        if self.is_missing:
            raise Unauthorized(
                "no credential of yours for the backend came with this call, and nobody else's is used for it. "
                "Send yours, or ask whoever runs this server for one."
            )

    def of(self, caller: Caller) -> "Credential":
        """What this caller's calls are made with, where the backend was opened with this. Raises `Unauthorized`."""
        own = Credential(caller.credential, is_callers=True) if caller.credential else self
        own.require()
        own.check()
        return own


ANONYMOUS = Credential()
"""None, where none is needed."""


def opened_with(token: str, *, callers_have_credentials: bool) -> Credential:
    """What a system is called with for callers who bring none. Raises `Invalid` for a token that can't be sent."""
    if callers_have_credentials:
        return Credential(is_callers=True)
    configured = Credential(token)
    configured.check()
    return configured


class PerCredential(Generic[T]):
    """What is known, or open, with one credential and may serve no other: made on use, the last used ones kept.

    Of too many, the one that was used longest ago goes, or rather the first of them that `is_idle`; it is given to
    `close`.
    """

    def __init__(
        self,
        make: Callable[[Credential], T],
        *,
        close: Callable[[T], None] = lambda made: None,
        is_idle: Callable[[T], bool] = lambda made: True,
        most: int = _MOST_KEPT,
    ) -> None:
        self._make = make
        self._close = close
        self._is_idle = is_idle
        self._most = most
        self._kept: OrderedDict[Credential, T] = OrderedDict()

    def of(self, credential: Credential) -> T:
        if credential not in self._kept:
            if len(self._kept) >= self._most:
                idle = (known for known, made in self._kept.items() if self._is_idle(made))
                self._close(self._kept.pop(next(idle, next(iter(self._kept)))))
            self._kept[credential] = self._make(credential)
        self._kept.move_to_end(credential)
        return self._kept[credential]

    def close(self) -> None:
        while self._kept:
            self._close(self._kept.popitem()[1])
