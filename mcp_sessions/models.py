"""The domain models that all backends share: sessions, messages, runs, pages, filters and the results of changes.

Fields with `exclude=True` are not part of a result. `output` uses them to continue a page that it had to shorten.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil, floor
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from .json_documents import Json, JsonObject, resolve_pointer

Role = Literal["system", "user", "assistant", "tool"]
Order = Literal["updated_desc", "updated_asc", "created_desc", "created_asc"]
BulkAction = Literal["archive", "restore", "delete"]
StateMode = Literal["merge", "replace"]
Clearable = Literal["summary", "metadata"]


def iso(time: datetime) -> str:
    """Return the time in ISO 8601: UTC, to the second, with `Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[datetime, PlainSerializer(iso, when_used="json")]


class Model(BaseModel):
    """The base class of all domain models, which are immutable."""

    model_config = ConfigDict(frozen=True)


class PageItem(Model):
    """The base class of the items in a page."""

    cursor: str = Field(default="", exclude=True, repr=False)
    """The cursor that continues the list directly after this item."""


class Session(PageItem):
    """A session as a list shows it, without its contents."""

    id: str
    name: str = ""
    type: str = ""
    agent_id: str = ""
    user_id: str = ""
    project: str = ""
    """The folder that a coding agent works in."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    archived_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    """When the session's system will remove it by itself, if that is known and within 7 days."""
    is_current: bool = False
    is_live: bool = False
    """Whether a program has the session open, as far as that is known."""
    channel: str = ""
    backend: str = ""
    """The name of the session's backend, where there are several; "" for the one without a name."""
    lasting_id: str = Field(default="", exclude=True, repr=False)
    """Identifies the session permanently if its id may change or be reused; "" if id and creation time identify it."""


class SessionDetail(Session):
    """A session with its state, metadata and counts. `version` changes with every change of the session."""

    branch: str = ""
    parent_id: str = ""
    """The session that this one was forked from or started by."""
    resume_command: str = ""
    """The command that continues the session in its own program."""
    state: Json = Field(default_factory=dict[str, Json])
    metadata: JsonObject = Field(default_factory=dict[str, Json])
    summary: str = ""
    topics: tuple[str, ...] = ()
    total_tokens: int | None = None
    message_count: int | None = None
    run_count: int | None = None
    version: str = ""
    kept_by_overlay: tuple[str, ...] = ()
    """The fields that the overlay keeps, since the system itself can't. Other programs don't see them."""
    note: str = ""
    child_count: int | None = Field(default=None, exclude=True)
    """The number of sessions that would be deleted together with this one, if there can be any."""
    system_metadata: tuple[str, ...] = Field(default=(), exclude=True, repr=False)
    """The keys of `metadata` that the session's system stores, if it can't store any others."""
    state_path: str = Field(default="", exclude=True)
    """The JSON Pointer to the part of the state that `state` is; "" if it is the whole state."""

    def with_state_at(self, pointer: str) -> "SessionDetail":
        """Return a copy whose `state` is only the value at a JSON Pointer (RFC 6901).

        Raise `Invalid` if the pointer is malformed, `NotFound` if it has no value.
        """
        return self.model_copy(update={"state": resolve_pointer(self.state, pointer), "state_path": pointer})


class SessionPage(Model):
    """A page of sessions."""

    sessions: tuple[Session, ...]
    next_cursor: str = ""
    total: int | None = None
    note: str = ""


class ToolCall(Model):
    """A tool call in an assistant's message. `arguments` is JSON text."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Attachment(Model):
    """A description of an attachment: its `url`, or its size in `bytes`. Its data is never returned."""

    type: str
    media_type: str = ""
    url: str = ""
    bytes: int | None = None


class Message(PageItem):
    """A message of a session."""

    id: str
    role: Role
    text: str = ""
    created_at: Timestamp | None = None
    run_id: str = ""
    agent_id: str = ""
    """The author if that is not the session's own agent: a member of a team or a step of a workflow."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    attachments: tuple[Attachment, ...] = ()
    omitted_chars: int = 0
    skipped: int = Field(default=0, exclude=True, repr=False)
    """The number of messages that filters left out between the newest end of the page and this message."""


class MessagePage(Model):
    """A page of messages, oldest first. `next_cursor` leads to older messages."""

    session_id: str
    messages: tuple[Message, ...]
    next_cursor: str = ""
    omitted_messages: int = 0
    note: str = ""
    focus: str = Field(default="", exclude=True)
    """The id of the message that the page was requested around."""
    part: int = Field(default=-1, exclude=True)
    """The offset at which to continue reading the page's only message; −1 for an ordinary page."""


class Run(PageItem):
    """One run of an agent, with its input and output. `tool_calls` is the number of calls."""

    id: str
    parent_run_id: str = ""
    agent_id: str = ""
    status: str = ""
    created_at: Timestamp | None = None
    input: str = ""
    output: str = ""
    tool_calls: int | None = None
    total_tokens: int | None = None
    omitted_chars: int = 0


class RunPage(Model):
    """A page of runs, newest first."""

    session_id: str
    runs: tuple[Run, ...]
    next_cursor: str = ""
    part: int = Field(default=-1, exclude=True)
    """The offset at which to continue reading the page's only run; −1 for an ordinary page."""


class SearchHit(PageItem):
    """A message that contains every part of the query or, without `message_id`, a session whose name does."""

    session_id: str
    session_name: str = ""
    message_id: str = ""
    role: str = ""
    snippet: str = ""
    created_at: Timestamp | None = None


class SearchPage(Model):
    """A page of search hits. `complete` is false if a limit ended the search early.

    `searched_sessions` is set by backends that search by reading sessions one by one, without an index.
    """

    hits: tuple[SearchHit, ...]
    next_cursor: str = ""
    searched_sessions: int | None = None
    complete: bool
    note: str = ""


class Change(Model):
    """The new and previous values of the fields that a change set, by their names in `SessionDetail`."""

    session_id: str
    changed: JsonObject = Field(default_factory=dict[str, Json])
    previous: JsonObject = Field(default_factory=dict[str, Json])
    version: str = ""
    kept_by_overlay: tuple[str, ...] = ()
    """The fields in `changed` that the overlay keeps, since the system itself can't."""
    note: str = ""


class Failure(Model):
    """A session that a bulk action failed on, with the error's whole text."""

    session_id: str
    error: str


class Target(Model):
    """A session that a bulk action would change."""

    session_id: str
    name: str = ""


class BulkResult(Model):
    """The result of a bulk action. It may fail on some sessions and succeed on others."""

    action: str
    dry_run: bool
    succeeded: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    would_change: tuple[Target, ...] = ()
    note: str = ""


class NewMessage(Model):
    """A message to append."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    attachments: tuple[Attachment, ...] = ()


class SessionFilter(Model):
    """The filters of `list_sessions`. "" and None select all. `query` is a case-insensitive part of the name."""

    query: str = ""
    project: str = ""  # the full path of a folder, for the sessions in it or in a folder below it
    type: str = ""
    agent_id: str = ""
    archived: bool = False
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    order: Order = "updated_desc"

    def is_in_time(self, updated_at: datetime | None) -> bool:
        """Return whether the time is between `updated_after` and `updated_before`, compared to the second."""
        updated = updated_at.timestamp() if updated_at else 0.0
        after, before = self.updated_after, self.updated_before
        return (after is None or updated >= floor(after.timestamp()) + 1) and (
            before is None or updated < ceil(before.timestamp())
        )


class HistoryQuery(Model):
    """The messages that `get_session_history` reads: the newest, those `around` a message, or only `message_id`.

    Empty `roles` means all roles. Tool messages and tool calls are left out unless `include_tools` is set or `roles`
    contains `tool`.
    """

    around: str = ""
    roles: Sequence[Role] = ()
    include_tools: bool = False
    message_id: str = ""

    @property
    def with_tools(self) -> bool:
        return self.include_tools or "tool" in self.roles

    def selects(self, message: "Message") -> bool:
        """Return whether a history shows the message."""
        if self.roles and message.role not in self.roles:
            return False
        return self.with_tools or (message.role != "tool" and bool(message.text or message.attachments))


DEFAULT_HISTORY = HistoryQuery()
