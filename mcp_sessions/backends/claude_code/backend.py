"""Claude Code's sessions as a backend."""

import logging
import os
import time
from collections.abc import Callable, Sequence, Set
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from ...errors import Busy, Conflict, NotFound, OutcomeUnknown, SessionsError, Timeout, Unsupported
from ...json_documents import JsonObject
from ...models import Change, Clearable, NewMessage, SessionDetail, iso
from ..base import Capability
from ..deadline import no_deadline
from ..file_locks import FileLocks
from ..transcripts.file_copies import file_error
from ..transcripts.file_creation import remove_abandoned
from ..transcripts.kept_files import KeptFiles
from ..transcripts.trash import Trash
from ..validation import check_version
from . import ClaudeCodeOptions
from .changes import APPENDED_ROLES, SessionWriter
from .deletion import Deletion
from .forks import write_fork
from .protection import Protection
from .reader import ClaudeCodeReader
from .running_processes import live_sessions

T = TypeVar("T")
logger = logging.getLogger(__name__)

_RENEWED_EVERY = 600.0  # seconds
_NAMES_REPEATED_EVERY = 5.0
_TRIES_AT_END = 3


class ClaudeCodeBackend(ClaudeCodeReader):
    """The sessions in Claude Code's folder. Lines are appended to transcripts, and no other byte of them is changed.
    `data_folder` is our own folder, for files that must not be in Claude Code's.
    """

    capabilities = ClaudeCodeReader.capabilities | {
        Capability.RENAME_SESSION,
        Capability.APPEND_MESSAGES,
        Capability.FORK_SESSION,
        Capability.DELETE_SESSION,
        Capability.RESTORE_SESSION,
    }
    appended_roles = APPENDED_ROLES

    def __init__(self, root: Path, options: ClaudeCodeOptions, data_folder: Path, *, read_only: bool = False) -> None:
        # A digest, since the names of folders must not get too long.
        name = f"claude-code-{blake2b(os.fsencode(root), digest_size=8).hexdigest()}"
        super().__init__(root, options, data_folder / "kept" / name)
        self._locks = FileLocks(data_folder / "locks")
        self._trash = Trash(data_folder / "deleted" / name, root, options.keep_deleted)
        self._kept = KeptFiles(data_folder / "kept" / name, root)
        self._read_only = read_only
        self._open = AsyncExitStack()
        self._tasks: TaskGroup | None = None
        self._given_names: dict[str, str] = {}
        """The ids of open sessions, and the names that `_repeat_names` repeats in their transcripts."""

    async def __aenter__(self) -> Self:
        """Finish deletions during which a process was killed, and remove old sessions from our trash. Then renew the
        copies of sessions from time to time, until the backend is closed.
        """
        if self._read_only:
            return self
        with suppress(SessionsError):
            for session_id in await self._in_thread(self._interrupted):
                with suppress(SessionsError):
                    await self._change(session_id, partial(self._finish, session_id))
        await anyio.to_thread.run_sync(self._trash.remove_old)
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(self._renew_copies)
            self._tasks = tasks
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks = None
        await self._open.aclose()

    async def _renew_copies(self) -> None:
        """Update the copies of sessions again and again, and remove unfinished files of killed processes."""
        while True:
            for folder in (self._kept.folder, self._folder.projects):
                await anyio.to_thread.run_sync(remove_abandoned, folder)
            began = time.time_ns()
            try:
                failures = [error for id in await self._in_thread(self._outdated) if (error := await self._renew(id))]
                if not failures:
                    await anyio.to_thread.run_sync(self._kept.mark_renewed, began)
            except SessionsError as error:
                failures = [error]
            if failures:
                logger.warning("copies of Claude Code's sessions can't be renewed: %s", failures[0])
            await anyio.sleep(_RENEWED_EVERY)

    async def _renew(self, session_id: str) -> SessionsError | None:
        """Update the copies of a session, and return the error if that fails."""
        try:
            with suppress(NotFound, Unsupported):
                await self._change(session_id, partial(self._renew_copy, session_id))
        except SessionsError as error:
            return error
        except OSError as error:
            return file_error(error)
        return None

    def _renew_copy(self, session_id: str, writer: SessionWriter) -> None:
        self._protection(writer).renew(session_id)

    def _interrupted(self, stops_at: float) -> Set[str]:
        return self._protection(SessionWriter(self._catalogue(stops_at))).interrupted_sessions(self._trash)

    def _finish(self, session_id: str, writer: SessionWriter) -> None:
        self._protection(writer).finish(self._trash, session_id)

    def _outdated(self, stops_at: float) -> Sequence[str]:
        return self._protection(SessionWriter(self._catalogue(stops_at))).outdated_sessions()

    def _protection(self, writer: SessionWriter) -> Protection:
        return Protection(writer, self._kept, keeps_all=self._keep == "all")

    def _deletion(self, writer: SessionWriter) -> Deletion:
        return Deletion(writer, self._trash, self._protection(writer))

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        until = iso(datetime.now(UTC) + timedelta(days=self._trash.days))
        return (
            "Its subagents and the outputs that Claude Code stored for it are deleted too. "
            f"restore_session can restore everything until {until[:10]}."
        )

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session, also one that is open in Claude Code."""
        change = await self._change(session_id, lambda writer: writer.rename(session_id, name))
        with suppress(SessionsError):  # the name was given nevertheless
            if session_id in await self._in_thread(lambda _: live_sessions(self._folder.root)):
                self._keep_name(session_id, str(change.changed["name"]))
        return change

    def _keep_name(self, session_id: str, name: str) -> None:
        is_kept = session_id in self._given_names
        self._given_names[session_id] = name
        if self._tasks and not is_kept:
            self._tasks.start_soon(self._repeat_names, session_id)

    async def _repeat_names(self, session_id: str) -> None:
        """Repeat the name near the end of a transcript until the session is closed, gets another name, or we end."""
        is_open = True
        try:
            while is_open:
                await anyio.sleep(_NAMES_REPEATED_EVERY)
                name = self._given_names[session_id]
                is_open = await self._repeat_name(session_id, name) or name != self._given_names[session_id]
        finally:
            name = self._given_names.pop(session_id)
            if is_open:
                with anyio.move_on_after(1, shield=True):
                    await self._repeat_name(session_id, name, tries=_TRIES_AT_END)

    async def _repeat_name(self, session_id: str, name: str, *, tries: int = 1) -> bool:
        """Repeat a name if it is far from the end of the transcript. Return whether to look again later."""
        for _ in range(tries):
            try:
                with no_deadline():  # the deadline of the call that renamed the session ends before
                    return await self._change(session_id, lambda writer: writer.repeat_name(session_id, name))
            except (Busy, Conflict):  # another program was writing at that moment
                continue
            except (SessionsError, OSError) as error:
                logger.warning("the name of session %s could not be written again: %s", session_id, error)
                return False
        return True

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        """Change the session's tag, for an overlay, which stores the rest. Refuse anything else."""
        if summary or clear or list(metadata or ()) != ["tag"]:
            self._refuse(Capability.UPDATE_SESSION)
        tag = (metadata or {}).get("tag")

        def change(writer: SessionWriter) -> Change:
            check_version(session_id, writer.version(session_id), expected_version)
            return writer.tag(session_id, tag)

        return await self._change(session_id, change)

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        """Append messages of users and assistants. Refused while the session is open in Claude Code, which would
        continue after the last message that it knows, and lose the appended messages.
        """
        return await self._change(session_id, lambda writer: writer.append(session_id, messages))

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        """Create a copy of a session, which `claude --resume` continues."""

        def work(stops_at: float) -> SessionDetail:
            catalogue = self._catalogue(stops_at)
            return self._details(catalogue).read(
                write_fork(SessionWriter(catalogue), session_id, up_to_message_id, name)
            )

        try:
            return await self._in_thread(work)
        except Timeout as error:
            raise OutcomeUnknown(
                "the fork took too long, so it isn't known whether it was made. Call list_sessions to find out."
            ) from error

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Move the files of a session to our trash. Refused while the session is open in Claude Code."""
        return await self._change(
            session_id, lambda writer: self._deletion(writer).delete(session_id, expected_version)
        )

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore, byte for byte, a session that was deleted, or that Claude Code removed while we had a copy."""
        return await self._change(session_id, lambda writer: self._deletion(writer).restore(session_id, name))

    async def protect_session(self, session_id: str, *, is_protected: bool = True) -> None:
        """Keep copies of a session's files, which stay when Claude Code removes the files, or stop keeping them."""
        if self._keep != "off" and "/" not in session_id:
            await self._change(
                session_id,
                lambda writer: self._protection(writer).set(session_id, is_protected=is_protected),
            )

    async def _change(self, session_id: str, work: Callable[[SessionWriter], T]) -> T:
        """Make a change while our other processes don't change the session, and return its result. Raise
        `OutcomeUnknown` if the change takes too long. The session stays locked until the change has ended.
        """
        with suppress(OSError):  # without the folder, `lock` logs a warning and continues
            self._locks.open()
        async with self._locks.lock(f"{self._folder.root}/{session_id}") as lock:
            try:
                return await self._in_thread(
                    lock.until_done(lambda stops_at: work(SessionWriter(self._catalogue(stops_at))))
                )
            except Timeout as error:
                raise OutcomeUnknown(
                    "the change took too long, so it isn't known whether it was made. Read the session to find out."
                ) from error
