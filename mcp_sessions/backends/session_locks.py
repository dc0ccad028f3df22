"""Locks that let one write at a time change a session, across this user's processes."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from .file_locks import FileLocks
from .write_access import write_problem

logger = logging.getLogger(__name__)


class SessionLocks:
    """One lock for each session of one server.

    `file_locks` are shared by this user's processes. `server` identifies the server that has the sessions.
    """

    def __init__(self, file_locks: FileLocks, server: str) -> None:
        self._file_locks = file_locks
        self._server = server
        self._has_file_locks = True
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def open(self) -> None:
        """Create the folder for the file locks. Without one, only this process's writes wait for each other."""
        problem = self.problem()
        if not problem:
            try:
                self._file_locks.open()
            except OSError as error:
                problem = self._problem(str(error))
        if problem:
            logger.warning("%s.", problem)
        self._has_file_locks = not problem

    def problem(self) -> str:
        """Return a sentence without its full stop if this user can't write to the folder for file locks, else ""."""
        reason = write_problem(self._file_locks.folder)
        return self._problem(reason) if reason else ""

    def _problem(self, reason: str) -> str:
        folder = self._file_locks.folder
        return f"Can't keep locks in {folder} ({reason}), so another process may change a session at the same time"

    @asynccontextmanager
    async def lock(self, session_id: str) -> AsyncGenerator[None]:
        """Hold the session's lock, so that no other process of this user changes the session at the same time."""
        async with self._locks.setdefault(session_id, anyio.Lock()):
            if not self._has_file_locks:
                yield
                return
            async with self._file_locks.lock(f"{self._server}/{session_id}"):
                yield
