"""Every change: looked for before it is sent, sent once, and believed only when a fresh list shows it.

An unknown key is never sent, since OpenClaw makes a session of it; nor a file's name that the archive doesn't list.
"""

import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from ...errors import BadResponse, Conflict, NotFound, OutcomeUnknown, SessionsError, Unsupported, quoted
from ..http.client import AnswerLost
from .directory import Directory
from .wire import Entry

Look = Callable[[], Awaitable[Entry | None]]
"""The entry as the change leaves it, if a fresh list shows it so; after a deletion, the one that is gone."""


class Changes:
    """One after the other for each agent, so that what a list shows more or less is this change's doing.

    `locks` are those of all callers, by agent.
    """

    def __init__(self, directory: Directory, locks: WeakValueDictionary[str, anyio.Lock]) -> None:
        self._api = directory.api
        self._directory = directory
        self._locks = locks

    async def rename(self, id: str, name: str) -> tuple[Entry, Entry]:
        """Before and after."""
        async with self._held(id) as before:
            if before.is_archived:
                raise Unsupported("Guayaba renames active sessions only. restore_session takes a new name.")
            if before.name == name:
                return before, before

            async def look() -> Entry | None:
                now = await self._active(before)
                return now if now is not None and _same(now.name, name) else None

            return before, await self._settled(self._api.rename(before, name), look)

    async def archive(self, id: str) -> tuple[Entry, Entry]:
        async with self._held(id) as before:
            if before.is_archived:
                return before, before
            known = {entry.key for entry in await self._api.archives(before.agent)}

            async def look() -> Entry | None:
                if await self._active(before) is not None:
                    return None
                new = [entry for entry in await self._api.archives(before.agent) if entry.key not in known]
                return _the_one(new, before.session_id)

            return before, await self._settled(self._api.archive(before), look)

    async def restore(self, id: str, name: str) -> tuple[Entry, Entry]:
        """The session may be under another key than before."""
        async with self._held(id) as before:
            if not before.is_archived:
                return before, before
            known = {(entry.key, entry.session_id) for entry in await self._api.sessions(before.agent)}

            async def look() -> Entry | None:
                if any(entry.key == before.key for entry in await self._api.archives(before.agent)):
                    return None
                active = await self._api.sessions(before.agent)
                return _the_one(
                    [entry for entry in active if (entry.key, entry.session_id) not in known], before.session_id
                )

            return before, await self._settled(self._api.restore(before, name), look)

    async def delete(self, id: str, expected_version: str) -> None:
        async with self._held(id) as before:
            check_version(before, expected_version)

            async def look() -> Entry | None:
                if not before.is_archived:
                    return None if await self._active(before) is not None else before
                archived = await self._api.archives(before.agent)
                return None if any(entry.key == before.key for entry in archived) else before

            await self._settled(self._api.delete(before), look)

    @asynccontextmanager
    async def _held(self, id: str) -> AsyncGenerator[Entry]:
        """The session as it is once no other change of its agent's is under way. Raises `NotFound`."""
        agent = await self._directory.agent_of(id)
        lock = self._locks.setdefault(agent, anyio.Lock())
        async with lock:
            yield await self._directory.find(id)

    async def _active(self, entry: Entry) -> Entry | None:
        """The same conversation under the same key: an agent's main session begins anew under its own."""
        for now in await self._api.sessions(entry.agent):
            if now.key == entry.key and (not entry.session_id or now.session_id == entry.session_id):
                return now
        return None

    async def _settled(self, sending: Awaitable[None], look: Look) -> Entry:
        lost: AnswerLost | NotFound | None = None
        try:
            await sending
        except (AnswerLost, NotFound) as error:  # it was there a moment ago: what it was sent may be why it isn't
            lost = error
        finally:
            self._directory.kept.forget()
        try:
            found = await look()
        except SessionsError as error:
            raise lost or OutcomeUnknown(
                "Guayaba took the change, and could not be asked what became of it. List the sessions."
            ) from error
        if found is not None:
            return found
        if lost is None:
            raise BadResponse("Guayaba answered that it made the change, but its lists don't show it. List them again.")
        raise lost.not_made() if isinstance(lost, AnswerLost) else lost


def check_version(entry: Entry, expected: str) -> None:
    """Raise `Conflict` when an expected version is given and is not the session's."""
    if expected and expected != entry.version:
        raise Conflict(
            f"session {quoted(entry.id)} is at version {entry.version} now, not {quoted(expected)}. "
            "Read it again with get_session, then repeat the change."
        )


def _the_one(entries: Sequence[Entry], session_id: str) -> Entry | None:
    """Which of the new ones is the conversation: by its id, or, where that is none's, the only one."""
    candidates = [entry for entry in entries if session_id and entry.session_id == session_id] or entries
    return candidates[0] if len(candidates) == 1 else None


def _same(told: str, name: str) -> bool:
    return unicodedata.normalize("NFC", told.strip()) == unicodedata.normalize("NFC", name)
