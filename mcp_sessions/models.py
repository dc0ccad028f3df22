"""What every backend speaks: sessions, messages, runs, pages of them, and what a change did.

Fields that are not part of a result (`exclude=True`) tell `budget` where a page can be continued.
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


def iso(moment: datetime) -> str:
    """UTC, to the second, with `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Moment = Annotated[datetime, PlainSerializer(iso, when_used="json")]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Row(Model):
    cursor: str = Field(default="", exclude=True, repr=False)
    """Continues a page right behind this row."""


class Session(Row):
    """A conversation without its contents."""

    id: str
    name: str = ""
    type: str = ""
    agent_id: str = ""
    user_id: str = ""
    created_at: Moment | None = None
    updated_at: Moment | None = None
    archived_at: Moment | None = None
    is_current: bool = False
    channel: str = ""


class SessionDetail(Session):
    """A session with its state, metadata and counts. `version` changes with every change of the session."""

    state: Json = Field(default_factory=dict[str, Json])
    metadata: JsonObject = Field(default_factory=dict[str, Json])
    summary: str = ""
    topics: tuple[str, ...] = ()
    total_tokens: int | None = None
    message_count: int | None = None
    run_count: int | None = None
    version: str = ""
    note: str = ""
    state_path: str = Field(default="", exclude=True)
    """Which part of the state this is."""

    def with_state_at(self, pointer: str) -> "SessionDetail":
        """The same with only that part of the state which a JSON Pointer (RFC 6901) names.

        Raises `Invalid` for what is no pointer, `NotFound` where it leads nowhere.
        """
        return self.model_copy(update={"state": resolve_pointer(self.state, pointer), "state_path": pointer})


class SessionPage(Model):
    sessions: tuple[Session, ...]
    next_cursor: str = ""
    total: int | None = None
    note: str = ""


class ToolCall(Model):
    """A call an assistant message made; `arguments` is the JSON text of its arguments."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Attachment(Model):
    """What was attached, described: `url`, or the number of `bytes` of data that is never returned."""

    type: str
    media_type: str = ""
    url: str = ""
    bytes: int | None = None


class Message(Row):
    id: str
    role: Role
    text: str = ""
    created_at: Moment | None = None
    run_id: str = ""
    agent_id: str = ""
    """Who said it, where that isn't the session's own agent: a team's member, a workflow's step."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    attachments: tuple[Attachment, ...] = ()
    omitted_chars: int = 0
    skipped: int = Field(default=0, exclude=True, repr=False)
    """How many messages between the page's newest end and this one a filter left out."""


class MessagePage(Model):
    """Oldest first; `next_cursor` walks towards older messages."""

    session_id: str
    messages: tuple[Message, ...]
    next_cursor: str = ""
    omitted_messages: int = 0
    note: str = ""
    focus: str = Field(default="", exclude=True)
    """The message a page was asked to be around."""
    part: int = Field(default=-1, exclude=True)
    """Where to go on reading the page's only message; −1 for an ordinary page."""


class Run(Row):
    """One turn of an agent: what came in, what went out. `tool_calls` counts them."""

    id: str
    parent_run_id: str = ""
    agent_id: str = ""
    status: str = ""
    created_at: Moment | None = None
    input: str = ""
    output: str = ""
    tool_calls: int | None = None
    total_tokens: int | None = None
    omitted_chars: int = 0


class RunPage(Model):
    """Newest first."""

    session_id: str
    runs: tuple[Run, ...]
    next_cursor: str = ""
    part: int = Field(default=-1, exclude=True)
    """Where to go on reading the page's only run; −1 for an ordinary page."""


class SearchHit(Row):
    """A place where every word was found: a message, or (without `message_id`) the session's name."""

    session_id: str
    session_name: str = ""
    message_id: str = ""
    role: str = ""
    snippet: str = ""
    created_at: Moment | None = None


class SearchPage(Model):
    """`complete` is false when a budget ended the search before everything was looked through.

    `searched_sessions` comes from backends that read sessions one by one; an index has no such number.
    """

    hits: tuple[SearchHit, ...]
    next_cursor: str = ""
    searched_sessions: int | None = None
    complete: bool
    note: str = ""


class Change(Model):
    """What a change set and what that replaced, keyed by `SessionDetail`'s field names: enough to undo it."""

    session_id: str
    changed: JsonObject = Field(default_factory=dict[str, Json])
    previous: JsonObject = Field(default_factory=dict[str, Json])
    version: str = ""
    note: str = ""


class Failure(Model):
    session_id: str
    error: str


class Target(Model):
    session_id: str
    name: str = ""


class BulkResult(Model):
    """Some may fail while others succeed; each failure has its error's whole text."""

    action: str
    dry_run: bool
    succeeded: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    would_change: tuple[Target, ...] = ()
    note: str = ""


class NewMessage(Model):
    """A message to be appended."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    attachments: tuple[Attachment, ...] = ()


class SessionFilter(Model):
    """What `list_sessions` selects; "" and None select all. `query` is a substring of the name, in any case."""

    query: str = ""
    type: str = ""
    agent_id: str = ""
    archived: bool = False
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    order: Order = "updated_desc"

    def is_in_time(self, updated_at: datetime | None) -> bool:
        """Whether it was last updated when asked for. Times are compared as they are shown: to the second."""
        updated = updated_at.timestamp() if updated_at else 0.0
        after, before = self.updated_after, self.updated_before
        return (after is None or updated >= floor(after.timestamp()) + 1) and (
            before is None or updated < ceil(before.timestamp())
        )


class HistoryQuery(Model):
    """Which messages `get_session_history` reads: the newest, those around one, or one alone (`message_id`).

    No `roles` means all. Tool messages and tool calls are left out unless `include_tools`, or `roles` has `tool`.
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
