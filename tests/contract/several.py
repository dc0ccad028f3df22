"""Harnesses for several backends as one. Their sessions are seeded in turn, the first one in a backend with a name."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import ClassVar, Self

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.wrapper import Wrapper

from .agentos_fake import FakeAgentOs3
from .custom import JsonFolderHarness
from .embedded import SqliteHarness
from .guayaba_fake import GuayabaDefault
from .harness import Harness, Seed


class Opened(Wrapper):
    """A backend that its own harness enters and leaves."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ManyHarness(Harness):
    """The systems of other harnesses, by the names of their backends."""

    of: ClassVar[dict[str, type[Harness]]]

    def __init__(self) -> None:
        self._harnesses = {name: harness() for name, harness in self.of.items()}
        self._backends: dict[str, SessionBackend] = {}
        self._seeded = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        async with AsyncExitStack() as stack:
            for name, harness in self._harnesses.items():
                self._backends[name] = await stack.enter_async_context(harness.open())
            yield await stack.enter_async_context(
                Many({name: Opened(backend) for name, backend in self._backends.items()})
            )

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        ids: list[str] = []
        for seed in seeds:
            name = list(self._harnesses)[self._seeded % len(self._harnesses)]
            self._seeded += 1
            (own_id,) = await self._harnesses[name].seed(self._backends[name], [seed])
            ids.append(f"{name}/{own_id}" if name else own_id)
        return ids


class ManySqlite(ManyHarness):
    """Two stores, one of them without a name."""

    name = "many-sqlite"
    of: ClassVar = {"work": SqliteHarness, "": SqliteHarness}
    capabilities = SqliteHarness.capabilities
    absent_id = "work/zzzzzzzz"


class ManyWithAgentOs(ManyHarness):
    name = "many-sqlite-agentos-fake"
    is_variant = True
    of: ClassVar = {"agno": FakeAgentOs3, "": SqliteHarness}
    capabilities = frozenset(Capability)
    absent_id = "agno/zzzzzzzz"


class ManyWithGuayaba(ManyHarness):
    name = "many-sqlite-guayaba-fake-custom"
    is_variant = True
    of: ClassVar = {"": SqliteHarness, "guayaba": GuayabaDefault, "folder": JsonFolderHarness}
    capabilities = frozenset(Capability)


SEVERAL: tuple[type[Harness], ...] = (ManySqlite, ManyWithAgentOs, ManyWithGuayaba)
