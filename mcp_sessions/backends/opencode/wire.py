"""Readers for opencode's JSON, in which every field may be missing, null or of an unexpected type."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from ... import cursors
from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object, object_in, text_in
from ...models import Session

_SESSION_ID = re.compile(r"ses_[A-Za-z0-9]{1,100}")
_DEFAULT_TITLE = re.compile(r"(?:New session|Child session) - \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""The title of a session that nobody has named: opencode replaces it in the session's first turn."""
_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def is_session_id(text: str) -> bool:
    """Return whether the text can be a session's id. The server fails (500) for any other text."""
    return _SESSION_ID.fullmatch(text) is not None


def is_default_title(title: str) -> bool:
    """Return whether the title is one that opencode gives to a new session."""
    return _DEFAULT_TITLE.fullmatch(title) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencodeSession:
    """A session as the server returns it. Times are milliseconds since 1970; 0 means that there is none."""

    id: str
    title: str
    directory: str
    parent_id: str
    agent: str
    created: int
    updated: int
    archived: int
    """When it was archived. 0 or less for an active session: this backend restores a session by storing 0."""
    metadata: JsonObject | None
    """None before opencode 1.15, which has no metadata, and for a session without any."""
    total_tokens: int | None
    digest: int = field(init=False, compare=False, repr=False)
    """A digest of the id, which orders sessions of the same time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", cursors.digest(self.id, 7))

    @property
    def name(self) -> str:
        """The title, or "" if nobody has named the session."""
        return "" if self.has_default_title else self.title

    @property
    def has_default_title(self) -> bool:
        """Whether the title is the one that opencode gives to a new session."""
        return is_default_title(self.title)

    @property
    def default_title(self) -> str:
        """The title that this session would have if nobody had named it."""
        created = datetime.fromtimestamp(self.created / 1000, UTC)
        return f"New session - {created.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"

    @property
    def is_archived(self) -> bool:
        return self.archived > 0

    @property
    def version(self) -> str:
        """A digest of all fields: opencode has no versions."""
        content = repr((self.id, self.title, self.directory, self.updated, self.archived, self.metadata))
        return blake2b(content.encode(errors="backslashreplace"), digest_size=6).hexdigest()

    def to_session(self, cursor: str = "") -> Session:
        """Return the session as an item of a list."""
        return Session(
            id=self.id,
            name=self.name,
            type="agent",
            agent_id=self.agent,
            project=self.directory,
            created_at=as_datetime(self.created),
            updated_at=as_datetime(self.updated),
            archived_at=as_datetime(self.archived) if self.is_archived else None,
            cursor=cursor,
        )


def read_session(value: Json) -> OpencodeSession:
    """Return the session in an answer. Raise `BadResponse` if there is none."""
    row = value if is_object(value) else {}
    session_id = text_in(row, "id")
    if not is_session_id(session_id):
        raise BadResponse("opencode's answer is not a session. Check the backend's URL and the version of opencode.")
    times, metadata = object_in(row, "time"), row.get("metadata")
    return OpencodeSession(
        id=session_id,
        title=text_in(row, "title"),
        directory=text_in(row, "directory"),
        parent_id=text_in(row, "parentID"),
        agent=text_in(row, "agent"),
        created=milliseconds(times.get("created")),
        updated=milliseconds(times.get("updated")),
        archived=milliseconds(times.get("archived")),
        metadata=metadata if is_object(metadata) else None,
        total_tokens=total_tokens(row.get("tokens")),
    )


def rows_in(value: Json) -> list[JsonObject]:
    """Return the objects in an answer that is a list. Raise `BadResponse` if it isn't one."""
    if not is_array(value) or not all(is_object(row) for row in value):
        raise BadResponse("opencode's answer is not a list. Check the backend's URL and the version of opencode.")
    return value


def objects_in(row: JsonObject, key: str) -> list[JsonObject]:
    """Return the objects in the array at a key; none for anything else."""
    found = row.get(key)
    return [item for item in found if is_object(item)] if is_array(found) else []


def milliseconds(value: Json) -> int:
    """Return a time in milliseconds; 0 for anything that isn't one."""
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST
    return int(value) if is_time else 0


def as_datetime(time: int) -> datetime:
    """Return the time of milliseconds since 1970."""
    return datetime.fromtimestamp(time / 1000, UTC)


def total_tokens(value: Json) -> int | None:
    """Return the number of tokens in a session or message; None if they weren't counted."""
    if not is_object(value):
        return None
    cache = object_in(value, "cache")
    counts = [value.get("input"), value.get("output"), value.get("reasoning"), cache.get("read"), cache.get("write")]
    found = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    return sum(found) if found else None


def json_text(value: Json) -> str:
    """Return a value as compact JSON. Raise `BadResponse` if it is nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise BadResponse("a tool call is nested too deeply to be read. Read it in opencode itself.") from error
