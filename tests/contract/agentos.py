"""Harnesses for real AgentOS servers: one for each version and kind of database, emptied before each test."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.agentos.backend import AgentOsBackend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    NewMessage,
    iso,
)

from ..support.servers import postgres_process
from ..support.servers.agentos_process import Database, Installed, are_installed, is_there_a_newer, running
from .harness import Harness, Seed


class AgentOsHarness(Harness):
    """A real server: plain agno with an offline model."""

    capabilities = AgentOsBackend.capabilities
    version: ClassVar[Installed]
    options: ClassVar[tuple[str, ...]] = ()
    database: ClassVar[Database] = "sqlite"

    def __init__(self) -> None:
        self._server = running(self.version, *self.options, database=self.database)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        await self._server.clear()
        with TemporaryDirectory() as folder:
            async with open_backend(self._server.backend_url, data_folder=folder) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return await self._server.seed(*map(as_json, seeds))


_COMPONENTS = {"agent": "planner", "team": "crew", "workflow": "pipeline"}
"""The ids of the server's agents, teams and workflows. AgentOS attributes every run to one of them."""


def as_json(seed: Seed) -> JsonObject:
    """Return a session as the server's control route accepts it. An archived one has our backend's mark."""
    moment = seed.moment or datetime.now(UTC)
    archived: JsonObject = {"archived_at": iso(moment)} if seed.archived else {}
    return {
        "name": seed.name,
        "type": seed.type,
        "component_id": seed.agent_id or (_COMPONENTS[seed.type] if seed.runs else ""),
        "user_id": seed.user_id,
        "state": seed.state,
        "metadata": seed.metadata | archived,
        "runs": [[_message(message) for message in run] for run in seed.runs],
        "created_at": round(moment.timestamp()),
    }


def _message(message: NewMessage) -> JsonObject:
    return message.model_dump(mode="json")


DEPENDS_ON_DATABASE = frozenset({"test_suite", "test_list", "test_get", "test_state", "test_changes", "test_authoring"})
"""The modules that look at what the database makes of names, filters and JSON."""
DEPENDS_ON_VERSION = frozenset({"test_suite", "test_history", "test_runs", "test_scoping", "test_search"})
"""The other modules that look at what AgentOS answers. The rest looks at what our backend makes of its lists and ids.

An older version runs these on one database and those on the other, and its fake runs what neither looks at.
"""
_OF_A_WHOLE = "AgentOS forks whole sessions only"
_NO_CONTROL_CHARACTERS = "agno removes control characters from every string that it stores in PostgreSQL"
ON_POSTGRES = {"test_a_control_character_in_state_is_kept": _NO_CONTROL_CHARACTERS}
"""The deviations of each version on PostgreSQL, in addition to those on every database."""
_NO_FORK = "agno 2.5.6 forks no sessions: the operation is declared for AgentOS, and refused here"


class RealAgentOs3(AgentOsHarness):
    name = "agentos-3.1.10"
    version = "3.1.10"
    deviations: ClassVar = {
        "test_a_fork_can_end_at_a_message_and_get_a_name": _OF_A_WHOLE,
        "test_forking_up_to_an_unknown_message_is_not_found": _OF_A_WHOLE,
    }


class RealAgentOs3OnPostgresAsync(RealAgentOs3):
    name = "agentos-3.1.10-postgresql-async"
    modules = DEPENDS_ON_DATABASE
    deviations: ClassVar = {**RealAgentOs3.deviations, **ON_POSTGRES}
    database = "postgresql"
    options = ("--async-db",)


class RealAgentOsNewest(RealAgentOs3OnPostgresAsync):
    name = "agentos-newest-postgresql"
    modules = frozenset()
    version = "newest"


class RealAgentOs2Async(AgentOsHarness):
    name = "agentos-2.5.6-async"
    modules = DEPENDS_ON_VERSION
    version = "2.5.6"
    options = ("--async-db",)
    deviations: ClassVar = {
        "test_a_declared_operation_works[fork_session]": _NO_FORK,
        "test_a_fork_belongs_to_the_user_of_its_source": _NO_FORK,
        "test_a_fork_can_end_at_a_message_and_get_a_name": _NO_FORK,
        "test_a_fork_copies_the_session_and_changes_independently": _NO_FORK,
        "test_forking_up_to_an_unknown_message_is_not_found": _NO_FORK,
    }


class RealAgentOs2OnPostgres(RealAgentOs2Async):
    name = "agentos-2.5.6-postgresql"
    modules = DEPENDS_ON_DATABASE
    deviations: ClassVar = {**RealAgentOs2Async.deviations, **ON_POSTGRES}
    database = "postgresql"
    options = ()


_ON_SQLITE = (RealAgentOs3, RealAgentOs2Async)
_ON_POSTGRES = (RealAgentOs3OnPostgresAsync, RealAgentOs2OnPostgres)
"""Each version runs with each database and with each kind of driver, and each database with each kind of driver."""

REAL: tuple[type[Harness], ...] = (
    *(_ON_SQLITE if are_installed() else ()),
    *(_ON_POSTGRES if are_installed() and postgres_process.is_installed() else ()),
    *((RealAgentOsNewest,) if is_there_a_newer() and postgres_process.is_installed() else ()),
)
"""The harnesses that can run on this machine."""
