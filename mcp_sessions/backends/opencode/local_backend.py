"""The backends for opencode's own database on this machine."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import SessionsError
from ...json_documents import JsonObject
from ...models import Change, Clearable, NewMessage, SessionDetail
from ..base import REQUIRED, Capability
from ..deadline import deadline, remaining
from ..health import CheckResult, Report
from ..options import BackendOptions
from . import OpencodeDatabaseOptions
from .backend import OpencodeBackend
from .client import client_folder
from .database import OpencodeDatabase
from .deletion import deletion_notice
from .reader import OpencodeReader
from .server_on_demand import ServerOnDemand
from .server_process import ServerProcess
from .source import OpencodeSource

_START_SECONDS = 60
"""How many seconds before our start a turn may have begun to be ours: opencode starts us during its first turn."""


class LocalOpencodeReader(OpencodeReader):
    """Sessions in opencode's database, which is only read. No program has to run."""

    title = "opencode's database"
    capabilities = REQUIRED | {Capability.GET_SESSION_RUNS, Capability.SEARCH_SESSIONS}

    def __init__(self, path: Path, options: BackendOptions) -> None:
        self.options = options
        self._database = OpencodeDatabase(path, timeout=options.timeout)
        self._earliest_turn = round((time.time() - _START_SECONDS) * 1000)

    def client_session(self) -> str:
        """Return the session of the opencode that started this process, "" if it isn't known.

        opencode does not say which session makes a call. But the turn that makes the call is running, so its session is
        known if no other turn runs in the same folder.
        """
        folder = client_folder()
        with suppress(SessionsError):
            running = self._database.running_in(folder, self._earliest_turn) if folder else ()
            return running[0] if len(running) == 1 else ""
        return ""

    async def examine(self, report: Report) -> None:
        await self.check_reachable()
        report(CheckResult("backend", f"{self._database.path} can be read"))

    @property
    def _source(self) -> OpencodeSource:
        return self._database


class LocalOpencodeBackend(LocalOpencodeReader):
    """Sessions in opencode's database. They are read there, and changed by a server that is started for changes."""

    capabilities = OpencodeBackend.capabilities

    def __init__(
        self,
        path: Path,
        options: OpencodeDatabaseOptions,
        program: str,
        connect: Callable[[ServerProcess], OpencodeBackend],
    ) -> None:
        super().__init__(path, options)
        self._keep_deleted = options.keep_deleted
        self._program = program
        self._server = ServerOnDemand(program, path.parent.parent, connect)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._server.open())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        return deletion_notice(self._keep_deleted)

    async def examine(self, report: Report) -> None:
        await super().examine(report)
        report(CheckResult("opencode", f"{self._program} is started for changes"))

    @asynccontextmanager
    async def _changing(self) -> AsyncGenerator[OpencodeBackend]:
        """Return a backend for a server, for this caller."""
        with deadline(self.options.timeout):
            async with self._server.use(remaining(self.options.timeout)) as backend:
                yield backend.for_caller(self.caller)

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        async with self._changing() as backend:
            return await backend.create_session(name=name, type=type, agent_id=agent_id, state=state, metadata=metadata)

    async def rename_session(self, session_id: str, name: str) -> Change:
        async with self._changing() as backend:
            return await backend.rename_session(session_id, name)

    async def archive_session(self, session_id: str) -> Change:
        async with self._changing() as backend:
            return await backend.archive_session(session_id)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        async with self._changing() as backend:
            return await backend.restore_session(session_id, name=name)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        async with self._changing() as backend:
            return await backend.delete_session(session_id, expected_version=expected_version)

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        async with self._changing() as backend:
            return await backend.update_session(
                session_id, metadata=metadata, summary=summary, clear=clear, expected_version=expected_version
            )

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        async with self._changing() as backend:
            return await backend.append_messages(session_id, messages)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        async with self._changing() as backend:
            return await backend.fork_session(session_id, up_to_message_id=up_to_message_id, name=name)
