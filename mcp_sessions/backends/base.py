"""The base class of all backends."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime
from types import TracebackType
from typing import NoReturn, Self, get_args

from ..caller import Caller
from ..errors import Invalid, SessionsError, Unsupported, quoted
from ..json_documents import JsonObject
from ..models import (
    DEFAULT_HISTORY,
    BulkAction,
    BulkResult,
    Change,
    Clearable,
    HistoryQuery,
    MessagePage,
    NewMessage,
    Role,
    RunPage,
    SearchPage,
    Session,
    SessionDetail,
    SessionFilter,
    SessionPage,
    StateMode,
)
from ..text.validate import check_text
from . import feeds
from .bulk import apply_one, apply_to_each, preview_each, read_each, would_change
from .capability import KEPT_BY, REQUIRED, Capability
from .health import CheckResult, Report
from .options import BackendOptions
from .transcript_feed import TranscriptFeed
from .validation import NAME_LENGTH

__all__ = ["REQUIRED", "Capability", "SessionBackend"]


class SessionBackend:
    """The interface to a system that stores sessions.

    Enter a backend once, as an async context manager, then call `for_caller` for each caller's view of it.

    A subclass declares its `capabilities` and overrides exactly those methods; the others raise `Unsupported`.
    Methods raise only `SessionsError`s. They raise `NotFound` if a session does not exist or is not the caller's
    (`self.caller.user_id`). `title`, `capabilities` and `options` don't change after an instance is made.
    """

    title: str
    """The system's name, as used in sentences such as "This backend (TITLE) …"."""
    capabilities: frozenset[Capability] = REQUIRED
    appended_roles: frozenset[Role] = frozenset(get_args(Role))  # of the messages that `append_messages` accepts
    has_search_index: bool = False
    """Whether `search_sessions` searches all sessions by an index, rather than by reading them one by one."""
    options: BackendOptions = BackendOptions()
    caller: Caller = Caller()
    """The caller of this view. A backend that was not returned by `for_caller` belongs to the operator."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    @property
    def keeps(self) -> frozenset[str]:
        """What the system stores: `name`, `archived_at`, `state`, `summary`, `metadata` or some `metadata.KEY`."""
        return frozenset(field for capability in self.capabilities for field in KEPT_BY.get(capability, ()))

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        """Return a warning for the user: what deleting these sessions removes, and until when it can be restored."""
        return "Messages, runs and state are deleted too. This can't be undone."

    def why_no_user_scoping(self) -> str:
        """Return why this backend can't limit users to their own sessions, as a sentence, or "" if it can."""
        return f"the backend of {self.title} does not declare that it limits users to their own sessions."

    def for_caller(self, caller: Caller) -> Self:
        """Return a view of this backend for one caller.

        The view shares the backend's connections, and has only the sessions of the caller's user. Raise `Unsupported`
        if this backend can't limit users to their own sessions, `Invalid` for a user id that no session can have, and
        `Unauthorized` for a missing or malformed credential.
        """
        check_text(caller.user_id, "user_id", NAME_LENGTH)
        if caller.user_id and (why_not := self.why_no_user_scoping()):
            raise Unsupported(why_not)
        view = copy(self)
        view.caller = caller
        view._prepare_view()
        return view

    def _prepare_view(self) -> None:
        """Set the attributes that depend on `self.caller`. Called on each new view, which is a shallow copy."""

    def canonical_id(self, session_id: str) -> str:
        """Return the id that other methods accept, for a session that has several ids.

        A string that is not an id is returned unchanged. This method must not call the system.
        """
        return session_id

    def may_be_hint(self, hint: str, session_id: str) -> bool:
        """Return whether a client's hint about its current session may mean the session with this canonical id."""
        return self.canonical_id(hint) == session_id

    async def resolve_hint(self, hint: str) -> str:
        """Return the canonical id for a client's hint about its current session, "" if no session fits the hint."""
        return self.canonical_id(hint)

    def client_session(self) -> str:
        """Return the id of the session open in the client that started this process, "" if unknown. Must not wait."""
        return ""

    async def find_client_sessions(self) -> Sequence[str]:
        """Ask the system which sessions may be `client_session`, and return them. Called only to find "current"."""
        return ()

    def session_in_meta(self, meta: Mapping[str, object]) -> str:
        """Return the id of the session that a client of this system put into a request's `_meta`, "" if none."""
        return ""

    async def check_reachable(self) -> None:
        """Raise a `SessionsError` if the system does not answer or refuses the credential."""
        await self.list_sessions(SessionFilter(), limit=1)

    async def examine(self, report: Report) -> None:
        """Check the system for `mcp-sessions doctor`, and report its version and known hazards.

        Called before the backend is entered. Must not change the system: override this method if entering the
        backend changes it. Raise a `SessionsError` if the checks can't continue.
        """
        async with self:
            await self.check_reachable()
        report(CheckResult("backend", f"{self.title} answers"))

    def _refuse(self, capability: Capability) -> NoReturn:
        raise Unsupported(f"{self.title} has no {capability}.")

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """Return up to `limit` sessions. The order is total: following `next_cursor` neither skips nor repeats one."""
        raise NotImplementedError

    async def get_session(self, session_id: str) -> SessionDetail:
        """Return an active or archived session."""
        raise NotImplementedError

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        """Return the session ids that begin with `prefix` (not empty), for completion.

        An id that equals `prefix` is always found. Longer ids are found only among the `limit` most recent sessions,
        unless the backend can look up ids by prefix and overrides this method.
        """
        page = await self.list_sessions(SessionFilter(), limit=limit)
        ids = [session.id for session in page.sessions if session.id.startswith(prefix)]
        if prefix not in ids:
            with suppress(SessionsError):  # most prefixes are not a complete id, and some are not even a valid one
                ids.insert(0, (await self.get_session(prefix)).id)
        return ids[:limit]

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        """Return a session with the counts that the user should see before deleting it (messages or runs)."""
        return await self.get_session(session_id)

    async def get_sessions_for_deletion(self, session_ids: Sequence[str]) -> Sequence[SessionDetail]:
        """Return `get_session_for_deletion` of each session, without those that don't exist or can't be read."""
        return await read_each(session_ids, self.get_session_for_deletion)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Return the newest `limit` messages that `query` selects, or the ones that follow `cursor`."""
        raise NotImplementedError

    def changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        """Yield the active and archived sessions updated since a time, newest first, each once. None yields all.
        Sessions that were updated up to 2 seconds before `since` may be yielded too. A session that changes during the
        walk may be left out. To get it, call again with `since` set to the time of the first session.
        """
        return feeds.changes(self, since)

    async def transcript_feed(self) -> TranscriptFeed | None:
        """Return the sessions' files for a search index, or None if the index has to use `changes`."""
        return None

    async def export_session(self, session_id: str) -> JsonObject:
        """Return the complete session as a JSON object. By default, it has `session`, `messages` and `notes`."""
        return await feeds.export_session(self, session_id)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        self._refuse(Capability.GET_SESSION_RUNS)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Return the messages and the session names that contain every word of `query`.

        If `project` is given, search only the sessions that `list_sessions` returns for it.
        """
        self._refuse(Capability.SEARCH_SESSIONS)

    def create_targets(self) -> Sequence[str]:
        """Return the backends that can create a session, by name ("" for none). Empty if there is no choice."""
        return ()

    def creating_in(self, name: str) -> Self:
        """Return a view whose `create_session` uses the backend of this name. Raise `Invalid` if there is none."""
        raise Invalid(f"there is no backend {quoted(name)} to create a session in. Leave the backend out.")

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        self._refuse(Capability.CREATE_SESSION)

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session. `""` clears the name if the backend supports that."""
        self._refuse(Capability.RENAME_SESSION)

    async def archive_session(self, session_id: str) -> Change:
        """Archive a session. If it is archived already, change nothing and say so in `note`."""
        self._refuse(Capability.ARCHIVE_SESSION)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore a session or undo its deletion, and rename it if `name` is given."""
        self._refuse(Capability.RESTORE_SESSION)

    async def protect_session(self, session_id: str, *, is_protected: bool = True) -> None:
        """Protect a session from removal by its system, or stop protecting it. Called by an overlay that archives."""

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Delete a session. `note` says until when it can be restored, or that it can't be."""
        self._refuse(Capability.DELETE_SESSION)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        """Change a session's state. `merge` applies `changes` as a JSON Merge Patch (RFC 7396).

        Raise `Conflict` if the session is not at `expected_version`.
        """
        self._refuse(Capability.UPDATE_SESSION_STATE)

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        """Merge `metadata` (null removes a key) and set `summary`. The fields in `clear` are emptied first."""
        self._refuse(Capability.UPDATE_SESSION)

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        """Append all messages in order, or none of them."""
        self._refuse(Capability.APPEND_MESSAGES)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        """Create a copy of a session: its state, metadata and messages up to `up_to_message_id`, "" for all."""
        self._refuse(Capability.FORK_SESSION)

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        """Apply the same action to each session in turn. A failure does not stop the rest.

        If `expected_versions` is given, a deletion fails with `Conflict` if the session is at another version, and
        with `NotFound` if the session is not listed there: the user was not asked about it.
        """
        if Capability.APPLY_TO_SESSIONS not in self.capabilities:
            self._refuse(Capability.APPLY_TO_SESSIONS)
        if dry_run:
            return await preview_each(action, session_ids, lambda one: self._preview(action, one))
        result = await apply_to_each(action, session_ids, lambda one: apply_one(self, action, one, expected_versions))
        if action != "delete" or not result.succeeded:
            return result
        return result.model_copy(update={"note": self.deletion_notice(result.succeeded)})

    async def _preview(self, action: BulkAction, session_id: str) -> SessionDetail | None:
        """Return the session if the action would change it, else None."""
        session = await self.get_session(session_id)
        return session if would_change(action, session) else None
