"""A copy of all sessions from any backend into one that can create sessions and append messages, then a comparison.

The metadata of each copy names the session that it was copied from (`MARK`), so an interrupted copy can be continued.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TypeVar, get_args

from ..caller import Caller
from ..errors import (
    BadResponse,
    Busy,
    Conflict,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    SessionsError,
    Timeout,
    Unavailable,
    Unsupported,
)
from ..json_documents import JsonObject, is_object
from ..models import NewMessage, Role, Session, SessionFilter
from .base import Capability, SessionBackend
from .flag_errors import name_flag_in_errors
from .session_content import (
    MARK,
    SessionContent,
    SessionRecord,
    absent_facts,
    content_of,
    read_session_record,
    unread_facts,
)

T = TypeVar("T")

TEMPORARY = (Busy, OutcomeUnknown, RateLimited, Timeout, Unavailable)
"""Errors after which the same copy may succeed if it is tried again."""
_SESSION_ERRORS = (BadResponse, Conflict, Invalid, NotFound, Unsupported)
_NEEDED = (Capability.CREATE_SESSION, Capability.APPEND_MESSAGES, Capability.UPDATE_SESSION)
_PAGE = 100  # sessions
_BATCH = 100  # messages
_EARLIEST = datetime.min.replace(tzinfo=UTC)

ReportProgress = Callable[[str, int, int], None]
"""A callback that receives the step (`copied` or `compared`), the number of sessions done, and the total."""


@dataclass
class SessionCopyResult:
    """The result of a copy.

    `sessions` and `messages` are the numbers of those that are equal in both backends, `without_user` that of sessions
    without an owner, `already_there` that of copies that the target had before. `different` has the fields in which a
    copy differs, and `failed` the error of each session that can't be copied, both by the id in the source.
    `list_notes` are the source's notes on sessions that it could not list.

    `absent`, `changed` and `unread` count the facts that the target has no place for, that were changed so that the
    target can store them, and that the source does not return.
    """

    sessions: int = 0
    messages: int = 0
    without_user: int = 0
    already_there: int = 0
    different: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    failed: dict[str, SessionsError] = field(default_factory=dict[str, SessionsError])
    list_notes: set[str] = field(default_factory=set[str])
    absent: Counter[str] = field(default_factory=Counter[str])
    changed: Counter[str] = field(default_factory=Counter[str])
    unread: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, slots=True)
class BackendArgument:
    """An entered backend given by a command-line flag. Errors of its calls name the flag."""

    flag: str
    backend: SessionBackend

    async def call(self, operation: Awaitable[T]) -> T:
        with name_flag_in_errors(self.flag):
            return await operation


def why_no_target(backend: SessionBackend) -> str:
    """Return what a backend lacks to be the target of a copy, as the predicate of a sentence, or "" for nothing."""
    missing = [capability for capability in _NEEDED if capability not in backend.capabilities]
    if missing:
        return f"has no {', '.join(missing)}"
    refused = sorted(frozenset(get_args(Role)) - backend.appended_roles)
    return f"accepts no messages of the role {' or '.join(refused)}" if refused else ""


async def copy_sessions(
    source: BackendArgument, target: BackendArgument, source_name: str, report: ReportProgress
) -> SessionCopyResult:
    """Copy the sessions and messages that the target lacks, then compare all sessions with their copies.

    `source_name` is the name of the source in the metadata of the copies. A copy that was changed in the target is
    left unchanged.
    """
    copy = _SessionCopy(source, target, source_name)
    ids = await copy.list_ids()
    await copy.find_copies(set(ids))
    for step, work in (("copied", copy.copy), ("compared", copy.compare)):
        for done, session_id in enumerate(ids, 1):
            if session_id not in copy.result.failed:
                await work(session_id)
            report(step, done, len(ids))
    return copy.result


class _SessionCopy:
    """The copy of one source's sessions into a target, one session at a time."""

    def __init__(self, source: BackendArgument, target: BackendArgument, source_name: str) -> None:
        self.result = SessionCopyResult()
        self._source = source
        self._target = target
        self._source_name = source_name
        self._keeps_user = not target.backend.why_no_user_scoping()
        self._keeps_archived = Capability.ARCHIVE_SESSION in target.backend.capabilities
        self._copies: dict[str, str] = {}
        """id in the source → id in the target"""

    async def list_ids(self) -> list[str]:
        """Return the ids of all sessions of the source, least recently changed first."""
        changed_at = {
            session.id: session.updated_at or session.created_at or _EARLIEST
            async for session in _all_sessions(self._source, self.result.list_notes)
        }
        return sorted(changed_at, key=lambda session_id: changed_at[session_id])

    async def find_copies(self, ids: set[str]) -> None:
        """Find the copies that the target already has."""
        created_at: dict[str, datetime] = {}
        async for session in _all_sessions(self._target, set()):
            try:
                detail = await self._target.call(self._target.backend.get_session(session.id))
            except NotFound:
                continue  # deleted meanwhile
            mark = detail.metadata.get(MARK)
            original = mark.get("id") if is_object(mark) and mark.get("source") == self._source_name else None
            created = detail.created_at or _EARLIEST
            # A fork of a copy has the same metadata, and is newer than the copy.
            if isinstance(original, str) and original in ids and created <= created_at.get(original, created):
                created_at[original] = created
                self._copies[original] = session.id
        self.result.already_there = len(self._copies)

    def _mark(self, session_id: str) -> JsonObject:
        return {"source": self._source_name, "id": session_id}

    async def copy(self, session_id: str) -> None:
        """Copy a session, or what its copy lacks. Record an error that concerns only this session."""
        original = await self._read_original(session_id)
        if original is None:
            return
        try:
            await self._write(session_id, original)
        except _SESSION_ERRORS as error:
            self.result.failed[session_id] = error

    async def _read_original(self, session_id: str) -> SessionRecord | None:
        """Return a session of the source, or None if it can't be read although the source answers other calls."""
        try:
            return await self._source.call(read_session_record(self._source.backend, session_id))
        except (*_SESSION_ERRORS, *TEMPORARY) as error:
            if isinstance(error, TEMPORARY):
                await self._source.call(self._source.backend.check_reachable())
            self.result.failed[session_id] = error
            return None

    def _content(self, record: SessionRecord, changes: Counter[str]) -> SessionContent:
        return content_of(record, changes, keeps_user=self._keeps_user, keeps_archived=self._keeps_archived)

    async def _write(self, session_id: str, original: SessionRecord) -> None:
        target, wanted = self._target, self._content(original, Counter())
        existing = None
        if session_id in self._copies:
            existing = self._content(await self._read_copy(session_id), Counter())
            if not wanted.is_continuation_of(existing):
                return  # the comparison reports it
        else:
            self._copies[session_id] = await self._create(session_id, wanted)
        run_ids = [message.run_id for message in original.messages]
        for batch in _batches(wanted.messages, run_ids, len(existing.messages) if existing else 0):
            await target.call(target.backend.append_messages(self._copies[session_id], batch))
        if wanted.summary and not (existing and existing.summary):
            await target.call(target.backend.update_session(self._copies[session_id], summary=wanted.summary))
        if wanted.archived and not (existing and existing.archived):
            change = await target.call(target.backend.archive_session(self._copies[session_id]))
            self._copies[session_id] = change.session_id

    async def _create(self, session_id: str, wanted: SessionContent) -> str:
        with name_flag_in_errors(self._target.flag):
            owned = self._target.backend.for_caller(Caller(user_id=wanted.user_id))
            created = await owned.create_session(
                name=wanted.name,
                type=wanted.type,
                agent_id=wanted.agent_id,
                state=wanted.state,
                metadata=wanted.metadata | {MARK: self._mark(session_id)},
            )
        return created.id

    async def _read_copy(self, session_id: str) -> SessionRecord:
        return await self._target.call(read_session_record(self._target.backend, self._copies[session_id]))

    async def compare(self, session_id: str) -> None:
        """Compare a session, read anew, with its copy."""
        original = await self._read_original(session_id)
        if original is None:
            return
        try:
            copy = await self._read_copy(session_id)
        except NotFound:
            self.result.different[session_id] = ["deleted"]
            return
        result, changes = self.result, Counter[str]()
        wanted = self._content(original, changes)
        differences = wanted.differences(self._content(copy, Counter()))
        if differences:
            result.different[session_id] = differences
            return
        result.sessions += 1
        result.messages += len(wanted.messages)
        result.without_user += not wanted.user_id
        result.changed += changes
        for kind, count in absent_facts(original, copy):
            result.absent[kind] += count
        for kind, count in unread_facts(original):
            result.unread[kind] += count


async def _all_sessions(argument: BackendArgument, notes: set[str]) -> AsyncGenerator[Session]:
    """Yield all sessions, first the active ones, and add the notes of the lists. A session may be yielded twice."""
    for archived in (False, True):
        filter = SessionFilter(archived=archived, order="updated_asc")
        cursor = ""
        while True:
            page = await argument.call(argument.backend.list_sessions(filter, limit=_PAGE, cursor=cursor))
            for session in page.sessions:
                yield session
            notes |= {page.note} - {""}
            cursor = page.next_cursor
            if not cursor:
                break


def _batches(messages: Sequence[NewMessage], run_ids: Sequence[str], first: int) -> Iterator[Sequence[NewMessage]]:
    """Yield batches of the messages from the index `first` on: at most 100 messages, all of the same run."""
    for _, indexes in groupby(range(first, len(messages)), key=lambda index: run_ids[index]):
        run = [messages[index] for index in indexes]
        for start in range(0, len(run), _BATCH):
            yield run[start : start + _BATCH]
