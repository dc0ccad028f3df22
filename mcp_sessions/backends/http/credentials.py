"""Credentials for a system, the operator's or a caller's own, and a cache of objects for each credential."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ...caller import Caller
from ...errors import Invalid, Unauthorized
from ..backend_type import OpenContext

_MAX_CHARACTERS = 16 * 1024
_MAX_CACHED = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer token, the operator's or a caller's own (`is_from_caller`).

    A credential without a token is `ANONYMOUS`, or, with `is_from_caller`, one that a caller should have sent.
    """

    token: str = field(default="", repr=False)
    is_from_caller: bool = False
    variable: str = field(default="MCP_SESSIONS_TOKEN", compare=False)
    """The environment variable with the operator's token."""

    @property
    def is_missing(self) -> bool:
        """Whether callers must send their own credential and this one did not."""
        return self.is_from_caller and not self.token

    @property
    def name(self) -> str:
        """A noun phrase for error messages."""
        return "your own credential" if self.is_from_caller else f"the credential in {self.variable}"

    @property
    def refusal(self) -> str:
        """The rest of an error message that begins with the system's name: it refused this credential."""
        if self.is_from_caller:
            return "refused your own credential. Replace it with one that it accepts."
        if self.token:
            return f"refused the credential. Set {self.variable} to one that it accepts."
        return f"requires a credential, and {self.variable} is not set. Set it."

    def validate(self) -> None:
        """Raise `Invalid`, or `Unauthorized` if it is a caller's, for a token that can't be sent in a header.

        The error doesn't contain the token.
        """
        has_valid_characters = self.token.isascii() and self.token.isprintable() and " " not in self.token
        if has_valid_characters and len(self.token) <= _MAX_CHARACTERS:
            return
        problem = (
            "contains a space, a line break or a character that can't be sent in a header, or is longer than 16 KB"
        )
        if self.is_from_caller:
            raise Unauthorized(f"{self.name} {problem}. Send another.")
        raise Invalid(f"{self.variable} {problem}. Set it to another.")

    def require(self) -> None:
        """Raise `Unauthorized` if the credential is missing. A caller never uses another user's credential."""
        if self.is_missing:
            raise Unauthorized(
                "no credential was sent with this call, and the backend is never called with another user's. "
                "Send yours, or ask the operator of this server for one."
            )

    def for_caller(self, caller: Caller) -> "Credential":
        """Return the caller's own credential, or this one if the caller sent none. Raise `Unauthorized`."""
        credential = Credential(caller.credential, is_from_caller=True) if caller.credential else self
        credential.require()
        credential.validate()
        return credential


ANONYMOUS = Credential()
"""The credential for requests that need none."""


def configured_credential(context: OpenContext) -> Credential:
    """Return the credential for callers who send none. Raise `Invalid` for a token that can't be sent."""
    if context.callers_have_credentials:
        return Credential(is_from_caller=True)
    credential = Credential(context.token, variable=context.token_variable)
    credential.validate()
    return credential


class CredentialCache(Generic[T]):
    """A cache with one object for each credential, created on first use by `make`.

    When there are too many, the least recently used object that `is_idle` is removed, or, if none is idle, the least
    recently used one. `close` is called with each object that is removed.
    """

    def __init__(
        self,
        make: Callable[[Credential], T],
        *,
        close: Callable[[T], None] = lambda cached: None,
        is_idle: Callable[[T], bool] = lambda cached: True,
        max_size: int = _MAX_CACHED,
    ) -> None:
        self._make = make
        self._close = close
        self._is_idle = is_idle
        self._max_size = max_size
        self._cached: OrderedDict[Credential, T] = OrderedDict()

    def get(self, credential: Credential) -> T:
        """Return the object for a credential."""
        if credential not in self._cached:
            if len(self._cached) >= self._max_size:
                idle = (known for known, cached in self._cached.items() if self._is_idle(cached))
                self._close(self._cached.pop(next(idle, next(iter(self._cached)))))
            self._cached[credential] = self._make(credential)
        self._cached.move_to_end(credential)
        return self._cached[credential]

    def close(self) -> None:
        """Remove all objects."""
        while self._cached:
            self._close(self._cached.popitem()[1])
