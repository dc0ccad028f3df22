"""Readers for AgentOS's JSON, in which every field may be missing, null or of an unexpected type."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object, object_in, text_in
from ...models import (
    Session,
    SessionDetail,
)

TYPES = ("agent", "team", "workflow")
ARCHIVED_AT = "archived_at"
"""The metadata key that marks an archived session, with the time (ISO 8601). AgentOS itself has no archive."""
_EPOCH = datetime.fromtimestamp(0, UTC)
"""The time 0, which AgentOS includes in lists and leaves out of a single session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOsSession:
    """A session in AgentOS. `metadata` includes the key that marks archived sessions."""

    id: str
    name: str
    type: str
    agent_id: str
    user_id: str
    created_at: datetime | None
    updated_at: datetime | None
    state: JsonObject = field(default_factory=dict[str, Json])
    metadata: JsonObject = field(default_factory=dict[str, Json])
    summary: str = ""
    topics: tuple[str, ...] = ()
    total_tokens: int | None = None
    first_user_text: str = ""
    """The text of the first user message, which AgentOS shows as the name of a session without one."""
    message_count: int = 0
    """How many messages AgentOS's answer contains: it grows when messages are added."""

    @property
    def archived_at(self) -> datetime | None:
        """When the session was archived; None if it is active."""
        archived_at = self.metadata.get(ARCHIVED_AT)
        if not archived_at:
            return None
        return read_time(archived_at) or self.updated_at or self.created_at or _EPOCH

    @property
    def own_metadata(self) -> JsonObject:
        """The metadata without the key that marks archived sessions."""
        return {key: value for key, value in self.metadata.items() if key != ARCHIVED_AT}

    @property
    def document(self) -> JsonObject:
        """The fields that a change can set."""
        return {"name": self.name, "summary": self.summary, "state": self.state, "metadata": self.metadata}

    @property
    def has_default_name(self) -> bool:
        """Whether the name is the one that AgentOS shows for a session without one."""
        # Before agno 3, a session whose first run failed is named by that run's input, as JSON.
        is_input = self.name.startswith("{") and '"input_content"' in self.name[:40]
        return is_input or (bool(self.first_user_text) and self.name == self.first_user_text)

    @property
    def run_progress(self) -> str:
        """A value that changes when a run ends, since nearly every run adds messages or tokens."""
        return f"{self.message_count}/{self.total_tokens}"

    @property
    def identity(self) -> str:
        """A value that differs between this session and a later session with the same id."""
        return f"{self.created_at} {self.user_id}"

    @property
    def version(self) -> str:
        """A digest of the session: AgentOS has no versions, and its times are whole seconds."""
        content = (self.name, self.state, self.metadata, self.summary, str(self.updated_at), self.message_count)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return blake2b(text.encode(errors="backslashreplace"), digest_size=6).hexdigest()

    def to_session(self, cursor: str) -> Session:
        """Return the session as an item of a list."""
        return Session(
            id=self.id,
            name=self.name,
            type=self.type,
            agent_id=self.agent_id,
            user_id=self.user_id,
            created_at=self.created_at,
            updated_at=self.created_at if self.updated_at == _EPOCH else self.updated_at,  # as in a single session
            archived_at=self.archived_at,
            cursor=cursor,
        )

    def to_detail(self) -> SessionDetail:
        """Return the session with all its fields."""
        return SessionDetail(
            id=self.id,
            name=self.name,
            type=self.type,
            agent_id=self.agent_id,
            user_id=self.user_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            archived_at=self.archived_at,
            state=self.state,
            metadata=self.own_metadata,
            summary=self.summary,
            topics=self.topics,
            total_tokens=self.total_tokens,
            version=self.version,
        )


def read_session(value: Json, *, type: str = "") -> AgentOsSession:
    """Return the session of a list item or a single session. Raise `BadResponse` if it has no id.

    `type` is used if AgentOS's answer doesn't show the type.
    """
    if not is_object(value) or not text_in(value, "session_id"):
        raise BadResponse("AgentOS's answer is not a session. Check its version and address.")
    summary = object_in(value, "session_summary")
    history = value.get("chat_history")
    topics = summary.get("topics")
    type = _type(value) or type or "agent"
    created_at = _EPOCH if value.get("created_at") is None else read_time(value["created_at"])
    return AgentOsSession(
        id=text_in(value, "session_id"),
        name=text_in(value, "session_name"),
        type=type,
        agent_id=text_in(value, f"{type}_id"),
        user_id=text_in(value, "user_id"),
        created_at=created_at,
        updated_at=read_time(value.get("updated_at")) or created_at,
        state=object_in(value, "session_state"),
        metadata=object_in(value, "metadata"),
        summary=text_in(summary, "summary"),
        topics=tuple(topic for topic in topics if isinstance(topic, str)) if is_array(topics) else (),
        total_tokens=_tokens(value),
        first_user_text=_first_user_text(value, history),
        message_count=len(history) if is_array(history) else 0,
    )


def component_type(value: Json) -> str:
    """Return the type that a component's id proves; "" for a session without a component."""
    return next((type for type in TYPES if is_object(value) and text_in(value, f"{type}_id")), "")


def _type(value: JsonObject) -> str:
    named = text_in(value, "session_type")
    if named:
        return named
    # AgentOS renders a single session in its true type even if it has no component.
    return component_type(value) or ("workflow" if "workflow_data" in value else "")


def _first_user_text(value: JsonObject, history: Json) -> str:
    if "workflow_data" in value:  # a workflow session, whose given name would be in session_data
        return "" if "session_name" in object_in(value, "session_data") else text_in(value, "session_name")
    messages = (item for item in history if is_object(item)) if is_array(history) else ()
    return next((text_in(item, "content") for item in messages if text_in(item, "role") == "user"), "")


def _tokens(value: JsonObject) -> int | None:
    metrics = object_in(object_in(value, "session_data"), "session_metrics")
    for found in (value.get("total_tokens"), metrics.get("total_tokens")):
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def read_time(value: Json) -> datetime | None:
    """Return a time from ISO 8601 or seconds since 1970 (as in messages); None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
