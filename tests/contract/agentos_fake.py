"""Harnesses for the fake AgentOS, in both versions that are tested for real."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.agentos.backend import AgentOsBackend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend

from ..support.fakes.agentos import Database, FakeAgentOs, Version
from .agentos import DEPENDS_ON_DATABASE, ON_POSTGRES, RealAgentOs2Async, as_json
from .harness import Harness, Seed

_OF_A_WHOLE = "AgentOS forks whole sessions only"


class FakeAgentOs3(Harness):
    """A new fake server for each test."""

    name = "agentos-fake-3.1.10"
    capabilities = AgentOsBackend.capabilities
    deviations: ClassVar = {
        "test_a_fork_can_end_at_a_message_and_get_a_name": _OF_A_WHOLE,
        "test_forking_up_to_an_unknown_message_is_not_found": _OF_A_WHOLE,
    }
    version: ClassVar[Version] = "3.1.10"
    database: ClassVar[Database] = "sqlite"

    def __init__(self) -> None:
        self.fake = FakeAgentOs(self.version, database=self.database)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder:
            async with self.fake, open_backend(f"agentos+{self.fake.url}", data_folder=folder) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return self.fake.seed(*map(as_json, seeds))


class FakeAgentOs2(FakeAgentOs3):
    """The rest of the suite runs on the real server, with which other tests compare this fake."""

    name = "agentos-fake-2.5.6"
    is_variant = True
    modules = frozenset(
        {"test_paging", "test_cursors", "test_bulk", "test_feeds", "test_other_users", "test_unusual_ids", "test_suite"}
    )
    deviations = RealAgentOs2Async.deviations
    version = "2.5.6"


class FakeAgentOs3OnPostgres(FakeAgentOs3):
    name = "agentos-fake-3.1.10-postgres-async"
    is_variant = True
    modules = DEPENDS_ON_DATABASE
    deviations: ClassVar = {**FakeAgentOs3.deviations, **ON_POSTGRES}
    database = "postgresql-async"


class FakeAgentOs2OnPostgres(FakeAgentOs2):
    name = "agentos-fake-2.5.6-postgres"
    is_variant = True
    modules = DEPENDS_ON_DATABASE
    deviations: ClassVar = {**FakeAgentOs2.deviations, **ON_POSTGRES}
    database = "postgresql"


FAKES: tuple[type[Harness], ...] = (
    FakeAgentOs3,
    FakeAgentOs2,
    FakeAgentOs3OnPostgres,
    FakeAgentOs2OnPostgres,
)
