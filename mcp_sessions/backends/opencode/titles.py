"""A watch that writes a name again if opencode's automatic title replaces it.

opencode names a session in its first turn. Whether it does so is decided when the turn begins, so the automatic title
also replaces a name that was given during the turn. This happens at most once in the life of a session, and never to
one that another session started.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from contextvars import Context, copy_context
from pathlib import Path
from secrets import token_hex

import anyio
from anyio.abc import TaskGroup

from ...errors import NotFound, SessionsError
from ...json_documents import JsonObject, object_in, text_in
from ..session_locks import SessionLocks
from .api import Api
from .wire import OpencodeSession, is_default_title, is_session_id, milliseconds

logger = logging.getLogger(__name__)

WATCH_SECONDS = 60
"""How long a name is watched: titles are short, so that nearly all models write one in this time."""
_PAUSES = (0.25, 0.75, 1, 2, 2, 4, 5, 5, 10, 10, 20)
_MAX_WATCHED = 100
_MAX_TITLE = 100
"""The longest automatic title, in JavaScript's characters (UTF-16). opencode cuts longer ones."""


class TitleWatch:
    """Watches the names of sessions that were renamed when an automatic title was due. Enter `open` once.

    This user's processes share `folder`. A file in it stands for each watched session, so that a new name that another
    process gives to the session is not undone.
    """

    def __init__(self, locks: SessionLocks, folder: Path) -> None:
        self._locks = locks
        self._folder = folder
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
                for session_id in [*self._scopes]:
                    self.stop(session_id)
                tasks.cancel_scope.cancel()

    @property
    def is_watching(self) -> bool:
        return bool(self._scopes)

    def start(self, api: Api, session_id: str, title: str) -> bool:
        """Start to watch a session's title. Return False if too many are watched already."""
        self.stop(session_id)
        if self._open_state is None or len(self._scopes) >= _MAX_WATCHED:
            return False
        tasks, context = self._open_state
        scope = self._scopes[session_id] = anyio.CancelScope()
        token = self._write_file(session_id)
        context.copy().run(tasks.start_soon, self._watch, api, session_id, title, token, scope)
        return True

    def stop(self, session_id: str) -> bool:
        """Stop watching a session, whose name is about to be changed again. Return whether any process watched it."""
        if scope := self._scopes.pop(session_id, None):
            scope.cancel()
        return self._remove_file(session_id) or scope is not None

    async def _watch(self, api: Api, session_id: str, title: str, token: str, scope: anyio.CancelScope) -> None:
        with scope:
            for pause in _PAUSES:
                await anyio.sleep(pause)
                try:
                    if await self._rewrite(api, session_id, title, token):
                        break
                except NotFound:
                    break
                except SessionsError as error:
                    logger.warning("The name of session %s can't be checked: %s", session_id, error.code)
        if self._scopes.get(session_id) is scope:
            del self._scopes[session_id]
            if not self._is_replaced(session_id, token):
                self._remove_file(session_id)

    async def _rewrite(self, api: Api, session_id: str, title: str, token: str) -> bool:
        """Write the title again if an automatic title is there instead. Return whether the session has another one."""
        if (await api.session(session_id)).title == title:
            return False
        async with self._locks.lock(session_id):
            found = (await api.session(session_id)).title
            if found != title and _may_be_automatic(found) and not self._is_replaced(session_id, token):
                await api.update(session_id, {"title": title})
        return True

    def _write_file(self, session_id: str) -> str:
        """Write the file of a watch, and return its content; "" if that fails."""
        token = token_hex(8)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._folder / session_id).write_text(token, encoding="ascii")
        except OSError:
            return ""
        return token

    def _remove_file(self, session_id: str) -> bool:
        """Remove the file of a watch. Return whether there was one, other than a file that a killed process left."""
        if not is_session_id(session_id):
            return False
        path = self._folder / session_id
        with suppress(OSError):
            age = time.time() - path.stat().st_mtime
            path.unlink()
            return age < WATCH_SECONDS
        return False

    def _is_replaced(self, session_id: str, token: str) -> bool:
        """Return whether another process has renamed the session since its watch began."""
        try:
            return bool(token) and (self._folder / session_id).read_text(encoding="ascii") != token
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            return False


def is_title_due(session: OpencodeSession, newest_message: JsonObject) -> bool:
    """Return whether an automatic title may replace a name that this session gets now.

    That is so in its first turn, and shortly afterwards, since the title may take longer than the turn.
    """
    if not newest_message or session.parent_id or not session.has_default_title:
        return False
    ended = milliseconds(object_in(newest_message, "time").get("completed"))
    is_running = not ended or text_in(newest_message, "finish") == "tool-calls"
    return is_running or ended / 1000 > time.time() - WATCH_SECONDS


def _may_be_automatic(title: str) -> bool:
    """Return whether this can be an automatic title: one line of at most 100 characters, without spaces around it."""
    length = len(title.encode("utf-16-le", "surrogatepass")) // 2
    return 0 < length <= _MAX_TITLE and title == title.strip() and "\n" not in title and not is_default_title(title)
