"""What AgentOS answers, as it is read: every field may be missing, null or of another shape."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object
from ...models import (
    Session,
    SessionDetail,
)

TYPES = ("agent", "team", "workflow")
ARCHIVED_AT = "archived_at"
"""The key of a session's metadata that says it is archived, and since when (ISO 8601): AgentOS has no archive."""
_EPOCH = datetime.fromtimestamp(0, UTC)
"""A time of 0, which AgentOS shows in lists and leaves out of a single session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A session as AgentOS has it. `metadata` is whole, with the mark of the archive in it."""

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
    named_by: str = ""
    """The first words of a user in the answer: what AgentOS shows for a session without a name."""
    said: int = 0
    """How many messages the answer holds; enough to tell that some were added."""
    is_whole: bool = True
    """False for an item of a list before agno 2.6, which has neither owner nor metadata."""
    is_proven: bool = True
    """Whether the type is certain; before agno 2.6 it is not, where no component's id tells it."""

    @property
    def archived_at(self) -> datetime | None:
        mark = self.metadata.get(ARCHIVED_AT)
        if not mark:
            return None
        return moment(mark) or self.updated_at or self.created_at or _EPOCH

    @property
    def own_metadata(self) -> JsonObject:
        return {key: value for key, value in self.metadata.items() if key != ARCHIVED_AT}

    @property
    def document(self) -> JsonObject:
        """What a change can set."""
        return {"name": self.name, "summary": self.summary, "state": self.state, "metadata": self.metadata}

    @property
    def is_named_by_its_first_words(self) -> bool:
        # Before agno 3, a session whose first run failed is named by that run's input, as JSON.
        is_input = self.name.startswith("{") and '"input_content"' in self.name[:40]
        return is_input or (bool(self.named_by) and self.name == self.named_by)

    @property
    def progress(self) -> str:
        """What a run that ends moves on: nearly all of them say something, or cost tokens."""
        return f"{self.said}/{self.total_tokens}"

    @property
    def born(self) -> str:
        """What tells this session from another that bears its id later."""
        return f"{self.created_at} {self.user_id}"

    @property
    def version(self) -> str:
        """A digest of what was read: AgentOS has no versions, and its times are whole seconds."""
        read = (self.name, self.state, self.metadata, self.summary, str(self.updated_at), self.said)
        text = json.dumps(read, sort_keys=True, separators=(",", ":"))
        return blake2b(text.encode(errors="backslashreplace"), digest_size=6).hexdigest()

    def session(self, cursor: str) -> Session:
        return Session(
            id=self.id,
            name=self.name,
            type=self.type,
            agent_id=self.agent_id,
            user_id=self.user_id,
            created_at=self.created_at,
            updated_at=self.created_at if self.updated_at == _EPOCH else self.updated_at,  # as a single session has it
            archived_at=self.archived_at,
            cursor=cursor,
        )

    def detail(self) -> SessionDetail:
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


def read_session(value: Json, *, type: str = "", is_whole: bool = True) -> Stored:
    """A list's item or a detail; `type` is what it was asked for as. Raises `BadResponse` without an id."""
    if not is_object(value) or not text(value, "session_id"):
        raise BadResponse("AgentOS answered something that is no session. Check its version and address.")
    summary = object_in(value, "session_summary")
    history = value.get("chat_history")
    topics = summary.get("topics")
    type = _type(value) or type or "agent"
    created_at = _EPOCH if value.get("created_at") is None else moment(value["created_at"])
    return Stored(
        id=text(value, "session_id"),
        name=text(value, "session_name"),
        type=type,
        agent_id=text(value, f"{type}_id"),
        user_id=text(value, "user_id"),
        created_at=created_at,
        updated_at=moment(value.get("updated_at")) or created_at,
        state=object_in(value, "session_state"),
        metadata=object_in(value, "metadata"),
        summary=text(summary, "summary"),
        topics=tuple(topic for topic in topics if isinstance(topic, str)) if is_array(topics) else (),
        total_tokens=_tokens(value),
        named_by=_first_words(value, history),
        said=len(history) if is_array(history) else 0,
        is_whole=is_whole,
    )


def component_type(value: Json) -> str:
    """The type that a component's id proves; "" for a session that has none."""
    return next((type for type in TYPES if is_object(value) and text(value, f"{type}_id")), "")


def _type(value: JsonObject) -> str:
    named = text(value, "session_type")
    if named:
        return named
    # Without a component, a detail of agno ≥ 2.6 is still rendered in its true type.
    return component_type(value) or ("workflow" if "workflow_data" in value else "")


def _first_words(value: JsonObject, history: Json) -> str:
    if "workflow_data" in value:  # which holds its name, if it was given one
        return "" if "session_name" in object_in(value, "session_data") else text(value, "session_name")
    said = (item for item in history if is_object(item)) if is_array(history) else ()
    return next((text(item, "content") for item in said if text(item, "role") == "user"), "")


def _tokens(value: JsonObject) -> int | None:
    metrics = object_in(object_in(value, "session_data"), "session_metrics")
    for found in (value.get("total_tokens"), metrics.get("total_tokens")):
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def text(value: Mapping[str, Json], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def object_in(value: Mapping[str, Json], key: str) -> JsonObject:
    found = value.get(key)
    return found if is_object(found) else {}


def moment(value: Json) -> datetime | None:
    """ISO 8601, or seconds since 1970 (messages have those); None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
