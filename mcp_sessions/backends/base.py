"""What a backend is: the operations, which of them it has, and the refusal of those it has not."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import ClassVar, Literal, NoReturn, Self

from ..caller import Caller
from ..errors import NotFound, SessionsError, Unsupported, quoted
from ..json_documents import JsonObject
from ..models import (
    DEFAULT_HISTORY,
    BulkAction,
    BulkResult,
    Change,
    Clearable,
    Failure,
    HistoryQuery,
    MessagePage,
    NewMessage,
    RunPage,
    SearchPage,
    SessionDetail,
    SessionFilter,
    SessionPage,
    StateMode,
    Target,
)


class Capability(StrEnum):
    """One value per operation: the method's name and the tool's."""

    LIST_SESSIONS = "list_sessions"
    GET_SESSION = "get_session"
    SEARCH_SESSIONS = "search_sessions"
    CREATE_SESSION = "create_session"
    RENAME_SESSION = "rename_session"
    ARCHIVE_SESSION = "archive_session"
    RESTORE_SESSION = "restore_session"
    DELETE_SESSION = "delete_session"
    GET_SESSION_HISTORY = "get_session_history"
    GET_SESSION_RUNS = "get_session_runs"
    UPDATE_SESSION_STATE = "update_session_state"
    UPDATE_SESSION = "update_session"
    APPLY_TO_SESSIONS = "apply_to_sessions"
    APPEND_MESSAGES = "append_messages"
    FORK_SESSION = "fork_session"


REQUIRED = frozenset({Capability.LIST_SESSIONS, Capability.GET_SESSION, Capability.GET_SESSION_HISTORY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a backend is set up; each reads what concerns it. README, "Settings", says what they mean."""

    timeout: float = 25
    token: str = field(default="", repr=False)
    keep_deleted: int = 30
    recheck: bool = True
    trust_env: bool = False
    allow_http: bool = False
    agents: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Of a system whose sessions belong to agents, and that doesn't tell whose they are: user id → agent ids."""
    callers_have_credentials: bool = False
    """Whether every caller brings one (`Caller.credential`), so that none is called with `token`."""
    data_folder: str = ""
    """Where a backend may keep files of its own; "" for the user's data folder."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found and, where that isn't `ok`, what to do next."""

    name: str
    text: str
    status: Literal["ok", "warning", "failed"] = "ok"


Tell = Callable[[Check], None]


class SessionBackend:
    """A system that holds sessions. Entered once, as an async context manager; then `for_caller` gives views of it.

    A subclass declares `capabilities` and overrides exactly those methods; the others raise `Unsupported`.
    All methods raise `SessionsError`s only; a session that is absent or not the caller's is `NotFound`.
    """

    title: ClassVar[str]
    """The system's name in sentences: "This backend (TITLE) …"."""
    capabilities: ClassVar[frozenset[Capability]] = REQUIRED

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def deletion_notice(self) -> str:
        """What is said before a session is deleted: what goes with it, and whether it can be restored until when."""
        return "Messages, runs and state are deleted too. This can't be undone."

    def why_not_narrowed(self) -> str:
        """Why callers can't be narrowed to their own sessions here, as a sentence; "" where they can."""
        return ""

    def for_caller(self, caller: Caller) -> Self:
        """The same connections, holding this caller's user id: it sees and changes nobody else's sessions."""
        raise NotImplementedError

    async def check_reachable(self) -> None:
        """Raises a `SessionsError` where the system does not answer, or not to this credential."""
        await self.list_sessions(SessionFilter(), limit=1)

    async def examine(self, tell: Tell) -> None:
        """Tell, one by one, what is known of the system and what is hazardous there, before this is entered.

        Changes nothing there, which a backend whose entering does must see to. Raises a `SessionsError` where it
        can't go on.
        """
        async with self:
            await self.check_reachable()
        tell(Check("backend", f"{self.title} answers"))

    def _refuse(self, capability: Capability) -> NoReturn:
        raise Unsupported(f"{self.title} has no {capability}.")

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """At most `limit` sessions. Order is total; a walk by `next_cursor` has no gaps and no doubles."""
        raise NotImplementedError

    async def get_session(self, session_id: str) -> SessionDetail:
        """One session, active or archived."""
        raise NotImplementedError

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        """Return ids of sessions that begin with `prefix`, which is not empty: what completion offers for it.

        A session whose whole id is given is found however old it is. Others are found only among the `limit` most
        recent ones, unless a backend that can look ids up by their beginning overrides this.
        """
        page = await self.list_sessions(SessionFilter(), limit=limit)
        ids = [session.id for session in page.sessions if session.id.startswith(prefix)]
        if prefix not in ids:
            with suppress(SessionsError):  # most prefixes are no whole id, and many could not be one
                ids.insert(0, (await self.get_session(prefix)).id)
        return ids[:limit]

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        """The same, with what a user should know before it is deleted: the number of messages or of runs."""
        return await self.get_session(session_id)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Return the newest `limit` messages of `query`, or those behind `cursor`."""
        raise NotImplementedError

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        self._refuse(Capability.GET_SESSION_RUNS)

    async def search_sessions(self, query: str, *, limit: int = 10, cursor: str = "") -> SearchPage:
        """Names and message texts that have every word of `query`."""
        self._refuse(Capability.SEARCH_SESSIONS)

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
        """`""` clears the name where the backend can."""
        self._refuse(Capability.RENAME_SESSION)

    async def archive_session(self, session_id: str) -> Change:
        """An archived one stays as it is, and `note` says so."""
        self._refuse(Capability.ARCHIVE_SESSION)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Takes a session out of the archive, or undoes its deletion, under a new name if one is given."""
        self._refuse(Capability.RESTORE_SESSION)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """`note` says until when `restore_session` takes it, or that it is gone for good."""
        self._refuse(Capability.DELETE_SESSION)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        """`merge` is JSON Merge Patch (RFC 7396). A stale `expected_version` is `Conflict`."""
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
        """Merges `metadata` (null removes a key), or sets it whole where it is cleared too; sets `summary`."""
        self._refuse(Capability.UPDATE_SESSION)

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        """All of them, in order, or none."""
        self._refuse(Capability.APPEND_MESSAGES)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        """A new session with the messages up to and with that one (all without it), state and metadata."""
        self._refuse(Capability.FORK_SESSION)

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        """The same change for each session, one after the other: what fails doesn't stop the rest.

        Of sessions that are to be deleted, one that is not at its expected version fails with `Conflict`, and one
        that no version is expected of with `NotFound`: nobody was asked about it.
        """
        if Capability.APPLY_TO_SESSIONS not in self.capabilities:
            self._refuse(Capability.APPLY_TO_SESSIONS)
        done: list[str] = []
        failed: list[Failure] = []
        would_change: list[Target] = []
        for session_id in dict.fromkeys(session_ids):
            try:
                if dry_run:
                    session = await self._preview(action, session_id)
                    would_change += [Target(session_id=session.id, name=session.name)] if session else []
                else:
                    done.append((await self._apply(action, session_id, expected_versions)).session_id)
            except SessionsError as error:
                failed.append(Failure(session_id=session_id, error=error.text))
        return BulkResult(
            note=self.deletion_notice() if done and action == "delete" else "",
            action=action,
            dry_run=dry_run,
            succeeded=tuple(done),
            failed=tuple(failed),
            would_change=tuple(would_change),
        )

    async def _apply(self, action: BulkAction, session_id: str, expected_versions: Mapping[str, str] | None) -> Change:
        match action:
            case "archive":
                return await self.archive_session(session_id)
            case "restore":
                return await self.restore_session(session_id)
            case "delete":
                if expected_versions is not None and session_id not in expected_versions:
                    raise NotFound(f"no session {quoted(session_id)} when it was asked about. Ask again.")
                expected = (expected_versions or {}).get(session_id, "")
                return await self.delete_session(session_id, expected_version=expected)

    async def _preview(self, action: BulkAction, session_id: str) -> SessionDetail | None:
        """The session as it is, if the action would change it."""
        session = await self.get_session(session_id)
        unchanged = {"archive": session.archived_at is not None, "restore": session.archived_at is None}
        return None if unchanged.get(action, False) else session
