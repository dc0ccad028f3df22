"""A watch that writes a name again if opencode's automatic title replaces it.

opencode names a session in its first turn. Whether it does so is decided when the turn begins, so the automatic title
also replaces a name that was given during the turn. This happens at most once in the life of a session.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context

import anyio
from anyio.abc import TaskGroup

from ...errors import NotFound, SessionsError
from ..session_locks import SessionLocks
from .api import Api

logger = logging.getLogger(__name__)

WATCH_SECONDS = 60
"""How long a name is watched: titles are short, so that nearly all models write one in this time."""
_PAUSES = (0.25, 0.75, 1, 2, 2, 4, 5, 5, 10, 10, 20)
_MAX_WATCHED = 100


class TitleWatch:
    """Watches the names of sessions that were renamed when they had a default title. Enter `open` once."""

    def __init__(self, locks: SessionLocks) -> None:
        self._locks = locks
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._open_state: tuple[TaskGroup, Context] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Let `start` start tasks; they are cancelled at the end."""
        async with anyio.create_task_group() as tasks:
            self._open_state = tasks, copy_context()  # the tasks outlive the calls that start them, and their deadlines
            try:
                yield
            finally:
                self._open_state = None
                tasks.cancel_scope.cancel()

    def start(self, api: Api, session_id: str, title: str) -> bool:
        """Start to watch a session's title. Return False if too many are watched already."""
        self.stop(session_id)
        if self._open_state is None or len(self._scopes) >= _MAX_WATCHED:
            return False
        tasks, context = self._open_state
        scope = self._scopes[session_id] = anyio.CancelScope()
        context.copy().run(tasks.start_soon, self._watch, api, session_id, title, scope)
        return True

    def stop(self, session_id: str) -> None:
        """Stop watching a session, whose name is about to be changed again."""
        if scope := self._scopes.pop(session_id, None):
            scope.cancel()

    async def _watch(self, api: Api, session_id: str, title: str, scope: anyio.CancelScope) -> None:
        with scope:
            for pause in _PAUSES:
                await anyio.sleep(pause)
                try:
                    if await self._rewrite(api, session_id, title):
                        break
                except NotFound:
                    break
                except SessionsError as error:
                    logger.warning("The name of session %s can't be checked: %s", session_id, error.code)
        if self._scopes.get(session_id) is scope:
            del self._scopes[session_id]

    async def _rewrite(self, api: Api, session_id: str, title: str) -> bool:
        """Write the title if the session has another one. Return whether it had."""
        if (await api.session(session_id)).title == title:
            return False
        async with self._locks.lock(session_id):
            if (await api.session(session_id)).title != title:
                await api.update(session_id, {"title": title})
        return True
