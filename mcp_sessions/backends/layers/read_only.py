"""`ReadOnlyBackend`, a layer that refuses every change."""

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
    """A backend with only the operations of `inner` that read. The others raise `Unsupported`."""

    def __init__(self, inner: SessionBackend) -> None:
        super().__init__(inner)
        self.capabilities = inner.capabilities & READ_OPERATIONS

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset()


def _refuse(capability: Capability) -> Any:
    async def refuse(self: ReadOnlyBackend, *args: object, **kwargs: object) -> None:
        raise Unsupported(f"{self.title} is read-only on this server, so it has no {capability}.")

    return refuse


for changing in set(Capability) - READ_OPERATIONS:
    setattr(ReadOnlyBackend, changing, _refuse(changing))
