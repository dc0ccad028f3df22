"""The content of a session that a copy in another backend keeps, and a count of what such a copy lacks."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..errors import Invalid
from ..json_documents import Json, JsonObject, is_object
from ..models import Attachment, HistoryQuery, Message, MessagePage, NewMessage, SessionDetail, ToolCall
from ..text.validate import check_text
from .base import SessionBackend
from .validation import NAME_LENGTH, SUMMARY_LENGTH, TEXT_LENGTH, json_text, session_name, session_type

M = TypeVar("M", ToolCall, Attachment)

MARK = "mcp-sessions/copied_from"
"""The key in a copy's metadata that names the session it was copied from, as `{"source": …, "id": …}`."""

_PAGE = 200  # messages
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session with all its messages, oldest first, as a backend shows it.

    `omitted_messages` is the number of messages that its history leaves out. `notes` are the notes of the history.
    """

    detail: SessionDetail
    messages: Sequence[Message]
    omitted_messages: int
    notes: frozenset[str]


@dataclass(frozen=True, slots=True)
class SessionContent:
    """What a session and its copy have in common, with every value in a form that a backend can store."""

    name: str
    type: str
    agent_id: str
    user_id: str
    archived: bool
    state: JsonObject
    metadata: JsonObject
    summary: str
    messages: Sequence[NewMessage]

    def differences(self, copy: "SessionContent") -> list[str]:
        """Return the fields in which the copy differs. The copy may lack tool calls and attachments."""
        fields = ("name", "type", "agent_id", "user_id", "archived", "state", "metadata", "summary")
        found = [field for field in fields if getattr(self, field) != getattr(copy, field)]
        is_same = len(self.messages) == len(copy.messages) and self._begins_with_messages_of(copy)
        return found if is_same else [*found, "messages"]

    def is_continuation_of(self, copy: "SessionContent") -> bool:
        """Return whether the copy differs only in what an interrupted run lacks: last messages and later steps."""
        unfinished = {"messages", *(["summary"] if not copy.summary else []), *([] if copy.archived else ["archived"])}
        return unfinished.issuperset(self.differences(copy)) and self._begins_with_messages_of(copy)

    def _begins_with_messages_of(self, copy: "SessionContent") -> bool:
        return len(copy.messages) <= len(self.messages) and all(map(_is_copy, copy.messages, self.messages))


def _is_copy(copy: NewMessage, original: NewMessage) -> bool:
    return (copy.role, copy.text) == (original.role, original.text) and all(
        getattr(copy, field) in (getattr(original, field), type(getattr(original, field))())
        for field in ("tool_calls", "tool_name", "attachments")
    )


async def read_session_record(backend: SessionBackend, session_id: str) -> SessionRecord:
    """Return a session with all messages of its history, including those of tools."""
    detail = await backend.get_session(session_id)
    pages: list[MessagePage] = []
    cursor = ""
    while cursor or not pages:
        query = HistoryQuery(include_tools=True)
        pages.append(await backend.get_session_history(session_id, query, limit=_PAGE, cursor=cursor))
        cursor = pages[-1].next_cursor
    return SessionRecord(
        detail,
        [message for page in reversed(pages) for message in page.messages],
        sum(page.omitted_messages for page in pages),
        frozenset(page.note for page in pages if page.note),
    )


def content_of(
    record: SessionRecord, changes: Counter[str], *, keeps_user: bool = True, keeps_archived: bool = True
) -> SessionContent:
    """Return the content to copy. Count in `changes` the values that had to be changed so that they can be stored."""
    detail = record.detail
    metadata: Json = {key: value for key, value in detail.metadata.items() if key != MARK}
    return SessionContent(
        name=_name(detail.name, changes),
        type=_type(detail.type, changes),
        agent_id=_exact(detail.agent_id, "agents that can't be stored, left out", changes),
        user_id=_exact(detail.user_id, "users that can't be stored, left out", changes) if keeps_user else "",
        archived=detail.archived_at is not None and keeps_archived,
        state=_object(detail.state, "states that can't be stored, left out", changes),
        metadata=_object(metadata, "metadata that can't be stored, left out", changes),
        summary=_text(detail.summary, SUMMARY_LENGTH, changes),
        messages=[_message(message, changes) for message in record.messages],
    )


def _message(message: Message, changes: Counter[str]) -> NewMessage:
    return NewMessage(
        role=message.role,
        text=_text(message.text, TEXT_LENGTH, changes),
        tool_calls=tuple(_with_texts(call, ("id", "name", "arguments"), changes) for call in message.tool_calls),
        tool_name=_text(message.tool_name, NAME_LENGTH, changes),
        attachments=tuple(_with_texts(item, ("type", "media_type", "url"), changes) for item in message.attachments),
    )


def _with_texts(model: M, fields: Sequence[str], changes: Counter[str]) -> M:
    return model.model_copy(update={field: _text(getattr(model, field), TEXT_LENGTH, changes) for field in fields})


def _text(value: str, length: int, changes: Counter[str]) -> str:
    """Return the text without characters that not every database can store, and at most `length` characters of it."""
    stored = _UNSTORABLE.sub("\ufffd", value)
    changes["texts with characters that can't be stored, replaced by \ufffd"] += stored != value
    changes["texts that are too long, cut"] += len(stored) > length
    return stored[:length]


def _name(value: str, changes: Counter[str]) -> str:
    try:
        return session_name(_text(value, NAME_LENGTH, changes))
    except Invalid:
        changes["names without a visible character, left out"] += 1
        return ""


def _type(value: str, changes: Counter[str]) -> str:
    try:
        return session_type(value or "agent")
    except Invalid:
        changes["types that can't be stored, replaced by agent"] += 1
        return "agent"


def _exact(value: str, kind: str, changes: Counter[str]) -> str:
    """Return an id, or "" if it can't be stored: an id that is cut would be another id."""
    try:
        return check_text(value, kind, NAME_LENGTH)
    except Invalid:
        changes[kind] += 1
        return ""


def _object(value: Json, kind: str, changes: Counter[str]) -> JsonObject:
    try:
        if is_object(value) and json_text(value, kind):
            return value
    except Invalid:
        pass
    changes[kind] += 1
    return {}


def absent_facts(original: SessionRecord, copy: SessionRecord) -> Iterator[tuple[str, int]]:
    """Yield each kind of fact that the original has and its copy lacks, with the number of such facts."""
    one, other = original.detail, copy.detail
    yield "ids of sessions", one.id != other.id
    yield "times of sessions", (one.created_at, one.updated_at) != (other.created_at, other.updated_at)
    yield "users of sessions", bool(one.user_id and not other.user_id)
    yield "which sessions are archived", one.archived_at is not None and other.archived_at is None
    yield "topics of sessions", bool(one.topics and not other.topics)
    yield "token counts of sessions", one.total_tokens is not None and other.total_tokens is None
    yield "channels of sessions", bool(one.channel and not other.channel)
    yield "status and token counts of runs", len({message.run_id for message in original.messages} - {""})
    pairs = list(zip(original.messages, copy.messages, strict=False))
    yield "ids of messages", sum(one.id != other.id for one, other in pairs)
    yield "times of messages", sum(bool(one.created_at and one.created_at != other.created_at) for one, other in pairs)
    yield "authors of messages", sum(bool(one.agent_id and not other.agent_id) for one, other in pairs)
    yield "tool calls", sum(len(one.tool_calls) for one, other in pairs if not other.tool_calls)
    yield "names of tools", sum(bool(one.tool_name and not other.tool_name) for one, other in pairs)
    yield "attachments", sum(len(one.attachments) for one, other in pairs if not other.attachments)


def unread_facts(original: SessionRecord) -> Iterator[tuple[str, int]]:
    """Yield each kind of fact that the source has and doesn't return, with the number of such facts."""
    yield "messages that its histories leave out, such as system prompts", original.omitted_messages
    attachments = [item for message in original.messages for item in message.attachments]
    yield "data of attachments", sum(not item.url for item in attachments)
    yield from ((f'parts of sessions with the note "{note}"', 1) for note in original.notes)
