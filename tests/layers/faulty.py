"""`FaultyBackend`, whose calls fail or hang when a test says so, and `pair`, which combines it with a store."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event as ThreadEvent
from types import TracebackType
from typing import Literal, NamedTuple, Self

import anyio
from anyio import to_thread

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Unavailable
from mcp_sessions.models import SearchPage, Session, SessionDetail, SessionFilter, SessionPage

SHORT, LONG = 0.4, 60.0  # timeouts in seconds: for tests that wait for one, and for those that must not
Fault = Literal["", "dead", "hanging", "blocking", "broken"]


@dataclass
class Faults:
    """How a backend's calls fail. `blocking`: they wait for `release` in a thread, which can't be cancelled."""

    now: Fault = ""
    at_start: Fault = ""
    calls: int = 0
    running: int = 0
    is_open: bool = False
    release: ThreadEvent = field(default_factory=ThreadEvent)

    async def strike(self, fault: Fault) -> None:
        if fault == "dead":
            raise Unavailable("it is down. Start it.")
        if fault == "broken":
            raise ZeroDivisionError("a secret")
        if fault == "hanging":
            await anyio.sleep_forever()
        if fault == "blocking":
            await to_thread.run_sync(self.release.wait)

    async def before_call(self) -> None:
        self.calls += 1
        self.running += 1
        try:
            await self.strike(self.now)
        finally:
            self.running -= 1


class FaultyBackend(Wrapper):
    """A backend with faults. All of its views share them."""

    def __init__(self, inner: SessionBackend, *, now: Fault = "", at_start: Fault = "") -> None:
        super().__init__(inner)
        self.faults = Faults(now, at_start)

    async def __aenter__(self) -> Self:
        await self.faults.strike(self.faults.at_start)
        self._tasks = anyio.create_task_group()  # must be left by the task that enters it
        await self._tasks.__aenter__()
        self.faults.is_open = True
        await super().__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        self.faults.is_open = False
        await self._tasks.__aexit__(None, None, None)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        await self.faults.before_call()
        return await super().list_sessions(filter, limit=limit, cursor=cursor)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        await self.faults.before_call()
        return await super().search_sessions(query, project=project, limit=limit, cursor=cursor)

    def changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        return SessionBackend.changes(self, since)

    check_reachable = SessionBackend.check_reachable
    get_session_for_deletion = SessionBackend.get_session_for_deletion
    get_sessions_for_deletion = SessionBackend.get_sessions_for_deletion

    async def get_session(self, session_id: str) -> SessionDetail:
        await self.faults.before_call()
        return await super().get_session(session_id)


class Pair(NamedTuple):
    """A store without a name, and a faulty one named `work`."""

    many: Many
    bare: SessionBackend
    work: FaultyBackend


@asynccontextmanager
async def pair(*, seconds: float = SHORT, at_start: Fault = "") -> AsyncGenerator[Pair]:
    bare = open_backend(timeout=LONG)
    work = FaultyBackend(open_backend(timeout=seconds), at_start=at_start)
    try:
        with anyio.fail_after(5):
            async with Many({"": bare, "work": work}) as many:
                yield Pair(many, bare, work)
                work.faults.release.set()
    finally:
        work.faults.release.set()
    assert not work.faults.is_open
    assert work.faults.running == 0
