"""Claude Code's sessions as a backend."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Self, TypeVar

import anyio

from ...errors import OutcomeUnknown, SessionsError, Timeout
from ...models import Change, NewMessage, SessionDetail, iso
from ..base import Capability
from ..file_locks import FileLocks
from ..transcripts.trash import Trash
from . import ClaudeCodeOptions
from .changes import Changes
from .deletion import Deletion
from .forks import write_fork
from .reader import ClaudeCodeReader

T = TypeVar("T")


class ClaudeCodeBackend(ClaudeCodeReader):
    """The sessions in Claude Code's folder. Lines are appended to transcripts, and no other byte of them is changed.

    `data_folder` is our own, for what must not be in Claude Code's.
    """

    capabilities = ClaudeCodeReader.capabilities | {
        Capability.RENAME_SESSION,
        Capability.APPEND_MESSAGES,
        Capability.FORK_SESSION,
        Capability.DELETE_SESSION,
        Capability.RESTORE_SESSION,
    }

    def __init__(self, root: Path, options: ClaudeCodeOptions, data_folder: Path) -> None:
        super().__init__(root, options)
        self._locks = FileLocks(data_folder / "locks")
        # A digest, since the names of folders must not get too long.
        digest = blake2b(os.fsencode(root), digest_size=8).hexdigest()
        self._trash = Trash(data_folder / "deleted" / f"claude-code-{digest}", root, options.keep_deleted)

    async def __aenter__(self) -> Self:
        """Remove from our trash what is too old, and finish deletions during which a process was killed."""
        await anyio.to_thread.run_sync(self._trash.remove_old)
        for session_id in await anyio.to_thread.run_sync(self._trash.interrupted):
            with suppress(SessionsError):
                await self._finish_deletion(session_id)
        return self

    async def _finish_deletion(self, session_id: str) -> None:
        await self._change(session_id, lambda changes: self._trash.finish(session_id))

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        until = iso(datetime.now(UTC) + timedelta(days=self._trash.days))
        return (
            "Its subagents and the outputs that Claude Code stored for it are deleted too. "
            f"restore_session can restore everything until {until[:10]}."
        )

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session, also one that is open in Claude Code."""
        return await self._change(session_id, lambda changes: changes.rename(session_id, name))

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        """Append messages of users and assistants. Refused while the session is open in Claude Code.

        Claude Code would continue after the last message that it knows, and lose the appended ones.
        """
        return await self._change(session_id, lambda changes: changes.append(session_id, messages))

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        """Create a copy of a session, which `claude --resume` continues."""

        def work(stops_at: float) -> SessionDetail:
            catalogue = self._catalogue(stops_at)
            return self._details(catalogue).read(write_fork(Changes(catalogue), session_id, up_to_message_id, name))

        return await self._in_thread(work)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Move the files of a session to our trash. Refused while the session is open in Claude Code."""
        return await self._change(
            session_id, lambda changes: Deletion(changes, self._trash).delete(session_id, expected_version)
        )

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore a deleted session byte for byte."""
        return await self._change(session_id, lambda changes: Deletion(changes, self._trash).restore(session_id, name))

    async def _change(self, session_id: str, work: Callable[[Changes], T]) -> T:
        """Return the result of a change, during which our other processes don't change the session.

        Raise `OutcomeUnknown` if it takes too long.
        """
        with suppress(OSError):  # without the folder, `lock` logs a warning and goes on
            self._locks.open()
        async with self._locks.lock(f"{self._folder.root}/{session_id}"):
            try:
                return await self._in_thread(lambda stops_at: work(Changes(self._catalogue(stops_at))))
            except Timeout as error:
                raise OutcomeUnknown(
                    "the change took too long, so it isn't known whether it was made. Read the session to find out."
                ) from error
