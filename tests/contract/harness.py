"""The interface between the contract suite and a backend's tests: how to open the backend and fill its system."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    HistoryQuery,
    NewMessage,
    SessionFilter,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A session to create before a test. `runs` contains the messages of each run."""

    user_id: str = ""
    name: str = ""
    type: str = "agent"
    agent_id: str = ""
    state: JsonObject = field(default_factory=dict[str, object])
    metadata: JsonObject = field(default_factory=dict[str, object])
    project: str = ""
    """The folder, for systems that have one; "" lets the system choose."""
    runs: Sequence[Sequence[NewMessage]] = ()
    archived: bool = False
    moment: datetime | None = None
    """The times of creation and last update; None lets the system choose."""


class Harness(ABC):
    """A backend under test. Each test makes a new one."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    """The capabilities of the backend that `open` yields. They decide which tests exist."""
    absent_id: ClassVar[str] = "zzzzzzzz"
    """An id in the system's own format that no session has."""
    is_variant: ClassVar[bool] = False
    """Whether this is a variant of another harness, whose tests have the mark `variants`."""
    modules: ClassVar[frozenset[str]] = frozenset()
    """For a variant of another harness: the modules of the suite in which it can differ. Empty: all modules."""
    operations: ClassVar[frozenset[Capability]] = frozenset()
    """For a variant of another harness: the operations in which it can differ. Empty: all operations."""
    deviations: ClassVar[Mapping[str, str]] = {}
    """Tests known to fail on this system (`test_name`, or `test_name[capability]`), with the reason.

    `test_name[id]` means only the runs whose parameter has this id.
    """

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[SessionBackend]:
        """Yield the entered backend on a system without sessions."""

    @abstractmethod
    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        """Create sessions with the system's own means. Return their ids, in the same order."""


@dataclass(frozen=True, slots=True)
class System:
    """An open harness."""

    harness: Harness
    backend: SessionBackend

    async def seed(self, *seeds: Seed) -> list[str]:
        return await self.harness.seed(self.backend, seeds)

    async def seed_one(self, seed: Seed) -> str:
        (session_id,) = await self.seed(seed)
        return session_id

    def of(self, user_id: str) -> SessionBackend:
        """Return the backend as a caller of this user sees it."""
        return self.backend.for_caller(Caller(subject=user_id, user_id=user_id))

    async def snapshot(self, *session_ids: str) -> dict[str, object]:
        """Return everything that the required operations show of these sessions, and which sessions are listed."""
        shown: dict[str, object] = {
            f"listed, archived={archived}": await self.backend.list_sessions(
                SessionFilter(archived=archived), limit=100
            )
            for archived in (False, True)
        }
        for session_id in session_ids:
            history = await self.backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=200)
            shown[session_id] = (await self.backend.get_session(session_id), history)
        return shown
