"""The base class of backends over HTTP, which limits the time of every operation."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..base import Capability, SessionBackend
from ..deadline import deadline

P = ParamSpec("P")
T = TypeVar("T")

OPERATIONS = (
    *Capability,
    "find_session_ids",
    "get_session_for_deletion",
    "resolve_hint",
    "find_client_sessions",
    "check_reachable",
    "examine",
)


class HttpBackend(SessionBackend):
    """A backend over HTTP. All requests of one operation together may take `options.timeout` seconds."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in OPERATIONS:  # here, so that no operation can be written without a deadline
            setattr(cls, name, _with_deadline(getattr(cls, name)))


def _with_deadline(
    operation: Callable[Concatenate[HttpBackend, P], Awaitable[T]],
) -> Callable[Concatenate[HttpBackend, P], Awaitable[T]]:
    @wraps(operation)
    async def call(self: HttpBackend, *args: P.args, **kwargs: P.kwargs) -> T:
        with deadline(self.options.timeout):
            return await operation(self, *args, **kwargs)

    return call
