"""`Router`, the base class of `Many`: opens the members, and sends each call on a session to the member that has it."""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Self, TypeVar

import anyio

from ....caller import Caller
from ....errors import (
    BadResponse,
    Busy,
    Forbidden,
    Internal,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    SessionsError,
    Timeout,
    Unauthorized,
    Unavailable,
    quoted,
)
from ....json_documents import JsonObject
from ....models import (
    DEFAULT_HISTORY,
    Change,
    Clearable,
    HistoryQuery,
    MessagePage,
    NewMessage,
    RunPage,
    SessionDetail,
    StateMode,
)
from ...backend_names import NAME_RULE, is_name
from ...base import Capability, SessionBackend
from ...options import BackendOptions
from .fan_out import wait_for_one
from .ids import IdConverter, with_message
from .members import Member
from .results import ResultConverter

T = TypeVar("T")


_SYSTEM_ERRORS = (
    Unavailable,
    Timeout,
    Busy,
    OutcomeUnknown,
    BadResponse,
    Internal,
    RateLimited,
    Unauthorized,
    Forbidden,
)
"""Errors that concern a member's system rather than one session. Their messages don't name the member."""


class Router(SessionBackend):
    """Several backends, called members. A call on a session goes to the member that the session's id names.

    `backends`: by name. The one named "" keeps its ids; sessions of the others have ids `NAME/ID`. Raises `ValueError`
    for a bad name.
    """

    def __init__(self, backends: Mapping[str, SessionBackend]) -> None:
        for name in filter(None, backends):
            if not is_name(name):
                raise ValueError(f"{name!r} can't be the name of a backend: use {NAME_RULE}")
        self._members = {name: Member(name, backend) for name, backend in backends.items()}
        self._ids = IdConverter(backends)
        self._is_view = False
        self.title = " and ".join(member.label for member in self._members.values())
        self.capabilities = frozenset(capability for one in backends.values() for capability in one.capabilities)
        self.appended_roles = frozenset(role for one in backends.values() for role in one.appended_roles)
        self.has_search_index = all(one.has_search_index for one in backends.values())
        self.options = BackendOptions(timeout=max(one.options.timeout for one in backends.values()))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            for member in self._members.values():
                stack.callback(member.close)
                member.start(tasks)
            failure = await wait_for_one(
                [*self._members.values()], lambda member: member.wait_until_open(self.options.timeout, retry=False)
            )
            if failure is None:
                self._opened = stack.pop_all()
        if failure is not None:
            member, error = failure
            raise member.name_error(error)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset(field for member in self._members.values() for field in member.backend.keeps)

    def _prepare_view(self) -> None:
        self._is_view = True

    def _view(self, member: Member, caller: Caller | None = None) -> SessionBackend:
        """Return the view of a member for the caller. Raise the member's error if it refuses the caller."""
        if not self._is_view:
            return member.backend
        return member.backend.for_caller((caller or self.caller).for_backend(member.name))

    def _find(self, session_id: str) -> tuple[Member, str]:
        """Return the member that an id belongs to, and the session's own id. Raise `NotFound` if there is none."""
        name, own_id = self._ids.address(session_id)
        if name not in self._members or not own_id:
            raise NotFound(
                f"no session {quoted(session_id)}. Call list_sessions for valid ids. {self._ids.names_note()}"
            )
        return self._members[name], own_id

    @contextmanager
    def _errors_for_callers(self, member: Member, own_id: str) -> Generator[None]:
        """Raise errors as callers should see them: with full ids, and naming the member if its system failed."""
        try:
            yield
        except SessionsError as error:
            message = ResultConverter(self._ids, member).replace_ids(error.message, own_id)
            if isinstance(error, NotFound) and quoted(own_id) in error.message and not member.name:
                message += f" {self._ids.names_note()}"
            renamed = with_message(error, message)
            concerns_system = isinstance(error, _SYSTEM_ERRORS) and member.name
            raise (member.name_error(renamed) if concerns_system else renamed) from error

    async def _call(
        self,
        capability: Capability,
        session_id: str,
        call: Callable[[SessionBackend, str], Awaitable[T]],
        *,
        has_deadline: bool = True,
    ) -> tuple[ResultConverter, T]:
        """Call the session's member. Return a converter, which puts the member's name into ids, and the result."""
        member, own_id = self._find(session_id)
        member.require(capability)
        with self._errors_for_callers(member, own_id):
            result = await member.call(lambda: call(self._view(member), own_id), has_deadline=has_deadline)
        return ResultConverter(self._ids, member), result

    async def _change(
        self, capability: Capability, session_id: str, call: Callable[[SessionBackend, str], Awaitable[Change]]
    ) -> Change:
        convert, change = await self._call(capability, session_id, call)
        return convert.change(change, self._ids.address(session_id).own_id)

    def why_no_user_scoping(self) -> str:
        for member in self._members.values():
            if reason := member.backend.why_no_user_scoping():
                return f"{member.label}: {reason}"
        return ""

    def canonical_id(self, session_id: str) -> str:
        name, own_id = self._ids.address(session_id)
        if name not in self._members:
            return session_id
        return self._ids.full_id(name, self._members[name].backend.canonical_id(own_id))

    async def get_session(self, session_id: str) -> SessionDetail:
        convert, session = await self._call(
            Capability.GET_SESSION, session_id, lambda backend, own_id: backend.get_session(own_id)
        )
        return convert.detail(session)

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        convert, session = await self._call(
            Capability.DELETE_SESSION, session_id, lambda backend, own_id: backend.get_session_for_deletion(own_id)
        )
        return convert.detail(session)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        convert, page = await self._call(
            Capability.GET_SESSION_HISTORY,
            session_id,
            lambda backend, own_id: backend.get_session_history(own_id, query, limit=limit, cursor=cursor),
        )
        return convert.messages(page)

    async def export_session(self, session_id: str) -> JsonObject:
        convert, exported = await self._call(
            Capability.GET_SESSION,
            session_id,
            lambda backend, own_id: backend.export_session(own_id),
            has_deadline=False,  # reading each page has one
        )
        return convert.export(exported, self._ids.address(session_id).own_id)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        convert, page = await self._call(
            Capability.GET_SESSION_RUNS,
            session_id,
            lambda backend, own_id: backend.get_session_runs(own_id, run_id=run_id, limit=limit, cursor=cursor),
        )
        return convert.runs(page)

    async def rename_session(self, session_id: str, name: str) -> Change:
        return await self._change(
            Capability.RENAME_SESSION, session_id, lambda backend, own_id: backend.rename_session(own_id, name)
        )

    async def archive_session(self, session_id: str) -> Change:
        return await self._change(
            Capability.ARCHIVE_SESSION, session_id, lambda backend, own_id: backend.archive_session(own_id)
        )

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        return await self._change(
            Capability.RESTORE_SESSION, session_id, lambda backend, own_id: backend.restore_session(own_id, name=name)
        )

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        return await self._change(
            Capability.DELETE_SESSION,
            session_id,
            lambda backend, own_id: backend.delete_session(own_id, expected_version=expected_version),
        )

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        return await self._change(
            Capability.UPDATE_SESSION_STATE,
            session_id,
            lambda backend, own_id: backend.update_session_state(
                own_id, changes, mode=mode, expected_version=expected_version
            ),
        )

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        return await self._change(
            Capability.UPDATE_SESSION,
            session_id,
            lambda backend, own_id: backend.update_session(
                own_id, metadata=metadata, summary=summary, clear=clear, expected_version=expected_version
            ),
        )

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        return await self._change(
            Capability.APPEND_MESSAGES, session_id, lambda backend, own_id: backend.append_messages(own_id, messages)
        )

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        convert, session = await self._call(
            Capability.FORK_SESSION,
            session_id,
            lambda backend, own_id: backend.fork_session(own_id, up_to_message_id=up_to_message_id, name=name),
        )
        return convert.detail(session)
