"""A layer that leaves a backend only its operations that read."""

from typing import Any

from ...errors import Unsupported
from ..base import Capability, SessionBackend
from .wrapper import Wrapper

READ_OPERATIONS = frozenset(
    {
        Capability.LIST_SESSIONS,
        Capability.GET_SESSION,
        Capability.SEARCH_SESSIONS,
        Capability.GET_SESSION_HISTORY,
        Capability.GET_SESSION_RUNS,
    }
)


class ReadOnlyBackend(Wrapper):
    """A backend that refuses every change."""

    def __init__(self, inner: SessionBackend) -> None:
        super().__init__(inner)
        self.capabilities = inner.capabilities & READ_OPERATIONS

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset()


def _refuse(capability: Capability) -> Any:
    async def refuse(self: ReadOnlyBackend, *args: object, **kwargs: object) -> None:
        raise Unsupported(f"{self.title} may only be read here, so it has no {capability}.")

    return refuse


for changing in set(Capability) - READ_OPERATIONS:
    setattr(ReadOnlyBackend, changing, _refuse(changing))
