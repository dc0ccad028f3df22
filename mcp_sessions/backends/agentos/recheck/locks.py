"""Whose turn it is to change a session: of this process, and of this user's others."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from ...file_locks import FileLocks

logger = logging.getLogger(__name__)


class Turns:
    """`shared` are the locks of this user's processes, `server` tells one AgentOS from others."""

    def __init__(self, shared: FileLocks, server: str) -> None:
        self._shared = shared
        self._server = server
        self._are_shared = True
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def open(self) -> None:
        try:
            self._shared.open()
            self._are_shared = True
        except OSError as error:
            logger.warning("Changes by other processes can't be waited for (%s): no folder for locks.", error)
            self._are_shared = False

    @asynccontextmanager
    async def alone(self, session_id: str) -> AsyncGenerator[None]:
        """No other change of the session is made meanwhile, by this process or another of this user's."""
        async with self._locks.setdefault(session_id, anyio.Lock()):
            if not self._are_shared:
                yield
                return
            async with self._shared.held(f"{self._server}/{session_id}"):
                yield
