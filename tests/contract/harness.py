"""What the contract suite needs of whoever brings a backend: how to open it on an empty system and how to fill that."""

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
    """A session that is there before a test begins; `runs` are its turns, each the messages of one."""

    user_id: str = ""
    name: str = ""
    type: str = "agent"
    agent_id: str = ""
    state: JsonObject = field(default_factory=dict[str, object])
    metadata: JsonObject = field(default_factory=dict[str, object])
    runs: Sequence[Sequence[NewMessage]] = ()
    archived: bool = False
    moment: datetime | None = None
    """When it was created and last updated; None leaves that to the system."""


class Harness(ABC):
    """A backend under test. Every test makes its own."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    """Those of the backend that `open` yields: which tests there are depends on them."""
    absent_id: ClassVar[str] = "zzzzzzzz"
    """An id of the system's own form that no session has."""
    deviations: ClassVar[Mapping[str, str]] = {}
    """Tests known to fail on this system (`test_name`, or `test_name[capability]`), with the reason.

    `test_name[id]` is only the runs with that id of a parameter.
    """

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[SessionBackend]:
        """The backend, entered, on a system without sessions."""

    @abstractmethod
    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        """Write sessions by the system's own means: their ids, in the same order."""


@dataclass(frozen=True, slots=True)
class System:
    """A harness that was opened."""

    harness: Harness
    backend: SessionBackend

    async def seed(self, *seeds: Seed) -> list[str]:
        return await self.harness.seed(self.backend, seeds)

    async def seed_one(self, seed: Seed) -> str:
        (session_id,) = await self.seed(seed)
        return session_id

    def of(self, user_id: str) -> SessionBackend:
        """The backend as this user's caller has it."""
        return self.backend.for_caller(Caller(subject=user_id, user_id=user_id))

    async def snapshot(self, *session_ids: str) -> dict[str, object]:
        """All that the required operations show: of these sessions, and which are listed."""
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
