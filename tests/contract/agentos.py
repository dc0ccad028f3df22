"""Harnesses of AgentOS: one server per version and kind of database, emptied before each test."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends import open_backend
from mcp_sessions.backends.agentos.backend import AgentOsBackend
from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.models import JsonObject, NewMessage, iso

from ..servers.agentos_process import Version, are_installed, running
from .harness import Harness, Seed


class AgentOsHarness(Harness):
    """A real server, which a plain agno with an offline model is."""

    capabilities = AgentOsBackend.capabilities
    version: ClassVar[Version]
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._server = running(self.version, *self.options)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        await self._server.clear()
        with TemporaryDirectory() as folder:
            async with open_backend(self._server.backend_url, data_folder=folder) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return await self._server.seed(*map(as_json, seeds))


def as_json(seed: Seed) -> JsonObject:
    """A session as the server's control route takes it; an archived one bears the mark that our backend makes."""
    moment = seed.moment or datetime.now(UTC)
    archived: JsonObject = {"archived_at": iso(moment)} if seed.archived else {}
    return {
        "name": seed.name,
        "type": seed.type,
        "component_id": seed.agent_id,
        "user_id": seed.user_id,
        "state": seed.state,
        "metadata": seed.metadata | archived,
        "runs": [[_message(message) for message in run] for run in seed.runs],
        "created_at": round(moment.timestamp()),
    }


def _message(message: NewMessage) -> JsonObject:
    return message.model_dump(mode="json")


class RealAgentOs3(AgentOsHarness):
    name = "agentos-3.1.10"
    version = "3.1.10"


class RealAgentOs3Async(RealAgentOs3):
    name = "agentos-3.1.10-async"
    options = ("--async-db",)


class RealAgentOs2(AgentOsHarness):
    name = "agentos-2.5.6"
    version = "2.5.6"
    capabilities = AgentOsBackend.capabilities - {Capability.FORK_SESSION}
    deviations: ClassVar = {
        "test_the_capabilities_are_those_that_the_harness_names": "a server's version is known once it is asked, and "
        "this one has no fork: the operation is declared for AgentOS, and refused here",
    }


class RealAgentOs2Async(RealAgentOs2):
    name = "agentos-2.5.6-async"
    options = ("--async-db",)


REAL: tuple[type[Harness], ...] = (
    (RealAgentOs3, RealAgentOs3Async, RealAgentOs2, RealAgentOs2Async) if are_installed() else ()
)
"""Those that this machine can run."""
