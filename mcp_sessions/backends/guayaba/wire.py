"""Readers for Guayaba's JSON, in which every field may be missing, null or of an unexpected type."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object, text_in
from ...models import (
    Session,
)
from .uuids import UUID

_FILE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d)[-:](\d\d)[-:](\d\d)")
_HANDLE_PREFIX = "archived-"
_MIN_MILLISECOND_DIGITS = 10  # a date without dashes has 8
_MIN_MILLISECONDS = 100_000_000_000  # March 1973; as seconds, far in the future
_ENVELOPES = ("data", "messages", "sessions", "archives")
"""The keys under which Laravel and OpenClaw return a list that isn't the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuayabaSession:
    """A session of an agent, active or archived. The key of an archived one is the name of its file."""

    agent: str
    key: str
    is_archived: bool
    name: str
    session_id: str
    """OpenClaw's id of the conversation, which stays the same when it is archived and restored; "" if unknown."""
    changed_at: datetime | None
    """When it was last updated, or archived."""
    channel: str = ""
    position: tuple[int, int] = field(init=False, compare=False, repr=False)
    """The position in the order of time: milliseconds since 1970, then a digest that orders sessions of one time."""

    def __post_init__(self) -> None:
        # Computed only once, since thousands of sessions are sorted for each page.
        digest = blake2b(f"{self.agent}/{self.id}".encode(errors="backslashreplace"), digest_size=7).digest()
        time = max(int(self.changed_at.timestamp() * 1000), 0) if self.changed_at else 0
        object.__setattr__(self, "position", (time, int.from_bytes(digest)))

    @property
    def id(self) -> str:
        """The id of the session within its agent: its key, or a handle for the name of its file."""
        return handle(self.agent, self.key) if self.is_archived else self.key

    @property
    def version(self) -> str:
        """A digest of all fields: Guayaba has no versions."""
        content = (self.agent, self.key, self.is_archived, self.name, self.session_id, str(self.changed_at))
        return blake2b(repr(content).encode(errors="backslashreplace"), digest_size=6).hexdigest()

    def to_session(self, id: str, cursor: str = "", *, owner: str = "") -> Session:
        """Return the session as an item of a list. `owner` is the user that the caller is limited to, if any."""
        archived = (self.changed_at or datetime.fromtimestamp(0, UTC)) if self.is_archived else None
        return Session(
            id=id,
            name=self.name,
            type="agent",
            agent_id=self.agent,
            user_id=owner,
            updated_at=None if self.is_archived else self.changed_at,
            archived_at=archived,
            channel=self.channel,
            cursor=cursor,
            lasting_id=f"{self.agent}/{self.session_id}" if self.session_id else "",
        )


def handle(agent: str, filename: str) -> str:
    """Return a short id for the file of an archived session, which never changes."""
    digest = blake2b(f"{agent}/{filename}".encode(errors="backslashreplace"), digest_size=6)
    return _HANDLE_PREFIX + digest.hexdigest()


def is_handle(id: str) -> bool:
    """Return whether an id has the form of a handle."""
    return re.fullmatch(_HANDLE_PREFIX + "[0-9a-f]{12}", id) is not None


def read_sessions(answer: Json, agent: str) -> list[GuayabaSession]:
    """Return the active sessions in an answer that have a key. If several have the same one, return the last."""
    rows = [
        GuayabaSession(
            agent=agent,
            key=key,
            is_archived=False,
            name=text_in(row, "label"),
            session_id=text_in(row, "sessionId"),
            changed_at=parse_milliseconds(row.get("updatedAt")),
            channel=text_in(row, "lastChannel"),
        )
        for row in rows_in(answer)
        if (key := text_in(row, "key"))
    ]
    return list({row.key: row for row in rows}.values())


def read_archives(answer: Json, agent: str) -> list[GuayabaSession]:
    """Return the archived sessions in an answer that have a file name."""
    rows = [
        GuayabaSession(
            agent=agent,
            key=filename,
            is_archived=True,
            name=text_in(row, "label"),
            session_id=text_in(row, "sessionId") or _session_in(filename),
            changed_at=_parse_archive_time(text_in(row, "archivedAt")) or _parse_archive_time(filename),
        )
        for row in rows_in(answer)
        if (filename := text_in(row, "filename"))
    ]
    return list({row.key: row for row in rows}.values())


def rows_in(answer: Json) -> list[JsonObject]:
    """Return the list of objects in an answer, which may be inside an object. Raise `BadResponse` for anything else."""
    found = next((answer[key] for key in _ENVELOPES if key in answer), None) if is_object(answer) else answer
    if not is_array(found) or not all(is_object(row) for row in found):
        raise BadResponse("Guayaba's answer is not a list. Check the backend's URL.")
    return found


def parse_milliseconds(value: Json) -> datetime | None:
    """Return a time from milliseconds or seconds since 1970; None for 0, which means "never", and anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value >= _MIN_MILLISECONDS else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _session_in(filename: str) -> str:
    found = re.match(UUID, filename)
    return found.group() if found else ""


def _parse_archive_time(text: str) -> datetime | None:
    """Return a time from ISO 8601, the form in file names (with dashes for colons), or milliseconds; None otherwise."""
    if text.isascii() and text.isdigit() and len(text) >= _MIN_MILLISECOND_DIGITS:
        return parse_milliseconds(int(text[:18]))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        found = _FILE_TIME.search(text)
        if found is None:
            return None
        day, *clock = found.groups()
        try:
            parsed = datetime.fromisoformat(f"{day}T{':'.join(clock)}+00:00")
        except ValueError:
            return None
    try:
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except OverflowError:
        return None
