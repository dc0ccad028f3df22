"""The opencode backend: the sessions of all projects of one server."""

import unicodedata
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from anyio import to_thread

from ...errors import Forbidden, Invalid, SessionsError, Unauthorized, Unsupported
from ...json_documents import JsonObject
from ...models import (
    Change,
    Clearable,
    NewMessage,
    SessionDetail,
)
from ...text.validate import check_text
from ..base import Capability
from ..health import CheckResult, Report
from ..http.backend import HttpBackend
from ..http.client import HttpClient
from ..http.credentials import ANONYMOUS, Credential
from ..session_locks import SessionLocks
from ..transcripts.trash import Trash
from ..validation import NAME_LENGTH, session_name, session_type
from . import OpencodeOptions, creation
from .api import Api
from .checks import examine
from .client import client_folder
from .deletion import Deletion, deletion_note, deletion_notice
from .details import change_of, detail_of
from .reader import OpencodeReader
from .source import OpencodeSource
from .titles import WATCH_SECONDS, TitleWatch, is_title_due
from .writer import SessionWriter, WriteResult, check_metadata

_RESTORED = (
    "Restored by storing 0 as the time of archiving, since opencode can't remove it. Its apps then list the session; "
    "a program that looks for a missing time does not."
)
_ACTIVE_AGAIN = "It was deleted; now it is active again, and the sessions that it started are there too."
_ARCHIVED_AGAIN = "It was deleted; now it is archived again, as before. Restore it once more to make it active."
_AUTOMATIC_TITLE = (
    "If the session's first turn is still running, opencode may replace this name with an automatic title. "
)


class OpencodeBackend(OpencodeReader, HttpBackend):
    """Sessions of an opencode server, through its REST API."""

    title = "opencode"
    capabilities = frozenset(Capability) - {Capability.UPDATE_SESSION_STATE}

    def __init__(
        self,
        http: HttpClient,
        credential: Credential,
        options: OpencodeOptions,
        locks: SessionLocks,
        trash: Trash,
        data_folder: Path,
        *,
        read_only: bool = False,
    ) -> None:
        self.options = options
        self._directory = options.directory
        self._http = http
        self._configured_credential = self._credential = credential
        self._locks = locks
        self._trash = trash
        self._read_only = read_only
        self._titles = TitleWatch(locks, data_folder / "watched")
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._http)
            if not self._read_only:
                self._locks.open()
                await to_thread.run_sync(self._trash.remove_old)
            await stack.enter_async_context(self._titles.open())
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        return deletion_notice(self._trash.days)

    @property
    def watches_names(self) -> bool:
        """Whether new names are watched, which an automatic title may replace."""
        return self._titles.is_watching

    async def find_client_sessions(self) -> Sequence[str]:
        """Return the sessions with a running turn in the folder of the opencode that started this process.

        opencode does not say which session makes a call. But the turn that makes the call is running.
        """
        folder = client_folder()
        return await self._api.running_in(folder) if folder else ()

    def _prepare_view(self) -> None:
        self._credential = self._configured_credential.for_caller(self.caller)

    async def check_reachable(self) -> None:
        """Raise an error if opencode can't be reached, or refuses a credential that all callers share."""
        if not self._credential.is_missing:
            await super().check_reachable()
            return
        with suppress(Unauthorized, Forbidden):
            await Api(self._http.with_credential(ANONYMOUS)).version()

    async def examine(self, report: Report) -> None:
        if problem := self._locks.problem():
            text = f"{problem}. Let this user write there"
            report(CheckResult("locks", text, "warning", read_only_text=problem))
        async with self._http:
            await examine(self._api, self.check_reachable, report)

    @property
    def _api(self) -> Api:
        return Api(self._http.with_credential(self._credential))

    @property
    def _source(self) -> OpencodeSource:
        return self._api

    @property
    def _deletion(self) -> Deletion:
        return Deletion(self._api, self._locks, self._trash)

    @property
    def _writer(self) -> SessionWriter:
        return SessionWriter(self._api, self._locks)

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        """Create a session in the folder of the option `directory`, or the one that the server runs in."""
        title = _valid_title(name)
        if session_type(type) != "agent":
            raise Unsupported(f'opencode has no sessions of the type "{type}". Leave the type out.')
        if state:
            raise Unsupported("opencode keeps no state of a session. Put it into metadata.")
        check_text(agent_id, "agent_id", NAME_LENGTH)
        given = metadata or {}
        check_metadata(given)
        created = await creation.create(self._api, title, agent_id, given, directory=self._directory)
        lost = "" if created.metadata or not given else "This version of opencode did not keep the metadata."
        return detail_of(created).model_copy(update={"note": lost})

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session; `""` gives it a default title again. `titles.py` documents how the name is kept."""
        title = _valid_title(name)
        was_watched = self._titles.stop(session_id)
        written = await self._writer.rename(session_id, title)
        note = await self._watch(written, was_watched=was_watched) if title else ""
        return change_of(written, name=True, note=note)

    async def archive_session(self, session_id: str) -> Change:
        """Archive a session. The sessions that it started stay as they are."""
        written = await self._writer.archive(session_id)
        if written.before is written.after:
            return change_of(written, note="Nothing was changed: the session is archived already.")
        return change_of(written, archived_at=True)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore an archived session, or a deleted one with those that it started. Rename it if `name` is given."""
        title = _valid_title(name)
        if await self._deletion.restore(session_id):
            return await self._change_of_restored(session_id, title)
        was_watched = bool(title) and self._titles.stop(session_id)
        written = await self._writer.restore(session_id, title)
        was_archived, is_renamed = written.before.is_archived, written.before.title != written.after.title
        note = _RESTORED if was_archived else "The session was active already."
        if title:
            note = f"{note} {await self._watch(written, was_watched=was_watched)}".strip()
        return change_of(written, archived_at=was_archived, name=is_renamed, note=note)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        self._titles.stop(session_id)
        can_restore = await self._deletion.delete(session_id, expected_version)
        return Change(session_id=session_id, note=deletion_note(session_id, self._trash.days, can_restore=can_restore))

    async def _change_of_restored(self, session_id: str, title: str) -> Change:
        """Return the change of a session that was deleted, after naming it unless `title` is ""."""
        session = await self._api.session(session_id)
        written = await self._writer.rename(session_id, title) if title else WriteResult(session, session)
        return change_of(written, name=bool(title), note=_ARCHIVED_AGAIN if session.is_archived else _ACTIVE_AGAIN)

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        if not (metadata or summary or clear):
            raise Invalid('nothing to change. Give "metadata" or "clear".')
        check_metadata(metadata or {})
        if summary or "summary" in clear:
            raise Unsupported("opencode keeps no summary of a session. Put it into metadata.")
        written = await self._writer.update_metadata(
            session_id, metadata or {}, clear="metadata" in clear, expected_version=expected_version
        )
        return change_of(written, metadata=True)

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        """Append messages of the user. Nothing answers them before the next turn."""
        texts = creation.texts_of(messages)
        is_first = await creation.append(self._api, self._locks, session_id, texts)
        note = "Appended messages can't be removed again."
        if is_first:
            note += " opencode gives no automatic title to a session that began like this. Use rename_session."
        try:
            version = (await self._api.session(session_id)).version
        except SessionsError as error:
            version, note = "", f"{note} The session could not be read afterwards ({error.code})."
        return Change(session_id=session_id, version=version, note=note)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        title = _valid_title(name)
        copy = await creation.fork(self._api, session_id, up_to_message_id)
        if not title:
            return detail_of(copy)
        try:
            return detail_of((await self._writer.rename(copy.id, title)).after)
        except SessionsError as error:
            note = f"The session was forked, but could not be renamed ({error.code}). Try rename_session."
            return detail_of(copy).model_copy(update={"note": note})

    async def _watch(self, written: WriteResult, *, was_watched: bool) -> str:
        """Start to watch a new name that an automatic title may replace, and return a note about that."""
        session_id = written.after.id
        try:
            newest = await self._api.newest_message(session_id) if written.before.has_default_title else {}
        except SessionsError:  # the session was renamed, even if its messages can't be read
            newest = {}
        if not was_watched and not is_title_due(written.before, newest):
            return ""
        if self._titles.start(self._api, session_id, written.after.title):
            return f"{_AUTOMATIC_TITLE}It is then written again, once, within {WATCH_SECONDS} s."
        return f"{_AUTOMATIC_TITLE}Look at it again in a minute."


def _valid_title(name: str) -> str:
    """Return a valid name without surrounding spaces."""
    title = session_name(name)
    if any(unicodedata.category(char) == "Cc" for char in title):
        raise Invalid('"name" has a line break or another control character. Remove it.')
    return title
