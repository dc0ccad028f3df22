"""The session writer: every change of a session, sent once and confirmed by a fresh list.

The session is looked up before a change is sent, because OpenClaw creates a session for an unknown key. The file of an
archived session is looked up too.
"""

import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from ...errors import BadResponse, NotFound, OutcomeUnknown, SessionsError, Unsupported
from ..http.client import AnswerLost
from ..validation import check_version
from .directory import Directory
from .wire import GuayabaSession

ReadBack = Callable[[], Awaitable[GuayabaSession | None]]
"""Returns the session after a change, or the deleted one after a deletion. None if the lists don't show the change."""


class SessionWriter:
    """Changes sessions, one at a time for each agent, so that lists from before and after differ by one change only.

    `locks` has the lock of each agent, and is shared by all callers.
    """

    def __init__(self, directory: Directory, locks: WeakValueDictionary[str, anyio.Lock]) -> None:
        self._api = directory.api
        self._directory = directory
        self._locks = locks

    async def rename(self, id: str, name: str) -> tuple[GuayabaSession, GuayabaSession]:
        """Rename a session, and return it before and after."""
        async with self._lock(id) as before:
            if before.is_archived:
                raise Unsupported("Guayaba renames active sessions only. restore_session takes a new name.")
            if before.name == name:
                return before, before

            async def read_back() -> GuayabaSession | None:
                after = await self._find_active(before)
                return after if after is not None and _is_same_name(after.name, name) else None

            return before, await self._confirm(self._api.rename(before, name), read_back)

    async def archive(self, id: str) -> tuple[GuayabaSession, GuayabaSession]:
        """Archive a session, and return it before and after."""
        async with self._lock(id) as before:
            if before.is_archived:
                return before, before
            known = {session.key for session in await self._api.archives(before.agent)}

            async def read_back() -> GuayabaSession | None:
                if await self._find_active(before) is not None:
                    return None
                new = [session for session in await self._api.archives(before.agent) if session.key not in known]
                return _match_conversation(new, before.session_id)

            return before, await self._confirm(self._api.archive(before), read_back)

    async def restore(self, id: str, name: str) -> tuple[GuayabaSession, GuayabaSession]:
        """Restore a session, and return it before and after. Its key may be another one than before it was archived."""
        async with self._lock(id) as before:
            if not before.is_archived:
                return before, before
            known = {(session.key, session.session_id) for session in await self._api.sessions(before.agent)}

            async def read_back() -> GuayabaSession | None:
                if any(session.key == before.key for session in await self._api.archives(before.agent)):
                    return None
                active = await self._api.sessions(before.agent)
                new = [session for session in active if (session.key, session.session_id) not in known]
                return _match_conversation(new, before.session_id)

            return before, await self._confirm(self._api.restore(before, name), read_back)

    async def delete(self, id: str, expected_version: str) -> None:
        """Delete a session."""
        async with self._lock(id) as before:
            check_version(before.id, before.version, expected_version)

            async def read_back() -> GuayabaSession | None:
                if not before.is_archived:
                    return None if await self._find_active(before) is not None else before
                archived = await self._api.archives(before.agent)
                return None if any(session.key == before.key for session in archived) else before

            await self._confirm(self._api.delete(before), read_back)

    @asynccontextmanager
    async def _lock(self, id: str) -> AsyncGenerator[GuayabaSession]:
        """Hold the lock of the session's agent, and yield the session as it is then. Raise `NotFound`."""
        agent = await self._directory.agent_of(id)
        async with self._locks.setdefault(agent, anyio.Lock()):
            yield await self._directory.find(id)

    async def _find_active(self, session: GuayabaSession) -> GuayabaSession | None:
        """Return the active session with the same key and conversation.

        After an agent's main session was archived, a new conversation begins under the same key.
        """
        for current in await self._api.sessions(session.agent):
            if current.key == session.key and (not session.session_id or current.session_id == session.session_id):
                return current
        return None

    async def _confirm(self, request: Awaitable[None], read_back: ReadBack) -> GuayabaSession:
        """Send a change, and return the session that `read_back` returns. Raise an error if it returns none."""
        failure: AnswerLost | NotFound | None = None
        try:
            await request
        except (AnswerLost, NotFound) as error:  # the session was just found: this request may have removed it
            failure = error
        finally:
            self._directory.cache.clear()
        try:
            found = await read_back()
        except SessionsError as error:
            raise failure or OutcomeUnknown(
                "the change was sent to Guayaba, but listing the sessions failed, so the change may or may not have "
                "been made. Look at the sessions with list_sessions."
            ) from error
        if found is not None:
            return found
        if failure is None:
            raise BadResponse(
                "Guayaba answered that it made the change, but its lists do not show it. "
                "Look at the sessions with list_sessions."
            )
        raise failure.not_made_error() if isinstance(failure, AnswerLost) else failure


def _match_conversation(sessions: Sequence[GuayabaSession], session_id: str) -> GuayabaSession | None:
    """Return the session with this conversation's id, or the only one if none has that id."""
    candidates = [session for session in sessions if session_id and session.session_id == session_id] or sessions
    return candidates[0] if len(candidates) == 1 else None


def _is_same_name(shown: str, name: str) -> bool:
    return unicodedata.normalize("NFC", shown.strip()) == unicodedata.normalize("NFC", name)
