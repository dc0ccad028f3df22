"""What Guayaba answers, as it is read: every field may be missing, null or of another shape."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object
from ...models import (
    Session,
)

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_FILE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d)[-:](\d\d)[-:](\d\d)")
_HANDLE = "archived-"
_LEAST_DIGITS = 10  # a date without dashes has 8
_LEAST_MILLIS = 100_000_000_000  # March 1973; as seconds, far in the future
_ENVELOPES = ("data", "messages", "sessions", "archives")
"""Where a list may be, if it isn't the whole answer: Laravel's way, and OpenClaw's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A session of an agent, active or archived: an archived one has a file's name for a key."""

    agent: str
    key: str
    is_archived: bool
    name: str
    session_id: str
    """OpenClaw's own id of the conversation, which outlives archiving and restoring; "" if not told."""
    changed_at: datetime | None
    """When it was last updated, or archived."""
    channel: str = ""
    place: tuple[int, int] = field(init=False, compare=False, repr=False)
    """Its place in the order of time: milliseconds, then a digest that tells those of one time apart."""

    def __post_init__(self) -> None:
        # Once, since thousands are put in order for every page of them.
        digest = blake2b(f"{self.agent}/{self.id}".encode(errors="backslashreplace"), digest_size=7).digest()
        time = max(int(self.changed_at.timestamp() * 1000), 0) if self.changed_at else 0
        object.__setattr__(self, "place", (time, int.from_bytes(digest)))

    @property
    def id(self) -> str:
        """What a caller addresses it by within its agent: its key, or a handle to its file's name."""
        return handle(self.agent, self.key) if self.is_archived else self.key

    @property
    def version(self) -> str:
        """A digest of all that Guayaba tells of it: it has no versions."""
        told = (self.agent, self.key, self.is_archived, self.name, self.session_id, str(self.changed_at))
        return blake2b(repr(told).encode(errors="backslashreplace"), digest_size=6).hexdigest()

    def session(self, id: str, cursor: str = "", *, owner: str = "") -> Session:
        """`owner` is the user whose it is, where a caller is narrowed to one."""
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
        )


def handle(agent: str, filename: str) -> str:
    """A short id for an archive's file: the same for as long as the file is there."""
    digest = blake2b(f"{agent}/{filename}".encode(errors="backslashreplace"), digest_size=6)
    return _HANDLE + digest.hexdigest()


def is_handle(id: str) -> bool:
    return re.fullmatch(_HANDLE + "[0-9a-f]{12}", id) is not None


def is_uuid(text: str) -> bool:
    return re.fullmatch(_UUID, text) is not None


def read_sessions(answer: Json, agent: str) -> list[Entry]:
    """Those without a key can't be addressed, and are left out; the last of equal keys counts."""
    rows = [
        Entry(
            agent=agent,
            key=key,
            is_archived=False,
            name=text(row, "label"),
            session_id=text(row, "sessionId"),
            changed_at=millis(row.get("updatedAt")),
            channel=text(row, "lastChannel"),
        )
        for row in rows_in(answer)
        if (key := text(row, "key"))
    ]
    return list({row.key: row for row in rows}.values())


def read_archives(answer: Json, agent: str) -> list[Entry]:
    rows = [
        Entry(
            agent=agent,
            key=filename,
            is_archived=True,
            name=text(row, "label"),
            session_id=text(row, "sessionId") or _session_in(filename),
            changed_at=_archived_at(text(row, "archivedAt")) or _archived_at(filename),
        )
        for row in rows_in(answer)
        if (filename := text(row, "filename"))
    ]
    return list({row.key: row for row in rows}.values())


def rows_in(answer: Json) -> list[JsonObject]:
    """A list of objects, bare or in an envelope. Raises `BadResponse` for anything else."""
    found = next((answer[key] for key in _ENVELOPES if key in answer), None) if is_object(answer) else answer
    if not is_array(found) or not all(is_object(row) for row in found):
        raise BadResponse("Guayaba answered something that is no list. Check the address in --backend.")
    return found


def text(row: JsonObject, key: str) -> str:
    found = row.get(key)
    return found if isinstance(found, str) else ""


def millis(value: Json) -> datetime | None:
    """Milliseconds since 1970, or seconds; nothing for 0, which stands for "never", and for what is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value >= _LEAST_MILLIS else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _session_in(filename: str) -> str:
    found = re.match(_UUID, filename)
    return found.group() if found else ""


def _archived_at(written: str) -> datetime | None:
    """ISO 8601, a time as file names have it (with dashes for colons), or milliseconds."""
    if written.isascii() and written.isdigit() and len(written) >= _LEAST_DIGITS:
        return millis(int(written[:18]))
    try:
        parsed = datetime.fromisoformat(written)
    except ValueError:
        found = _FILE_TIME.search(written)
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
