"""Functions that take values out of a line whose shape is uncertain. A value of another type counts as missing."""

import json
from datetime import UTC, datetime

from ...json_documents import Json, JsonObject, is_array, is_object


def valid_text(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair, which can't be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def text_in(record: JsonObject, key: str) -> str:
    """Return the string at a key, made valid, or ""."""
    value = record.get(key)
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else valid_text(value)


def objects_in(value: Json) -> list[JsonObject]:
    """Return the objects in an array."""
    return [item for item in value if is_object(item)] if is_array(value) else []


def count_in(record: JsonObject, key: str) -> int:
    """Return the number at a key, or 0."""
    value = record.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def time_in(record: JsonObject, key: str = "timestamp") -> datetime | None:
    """Return the ISO 8601 time at a key in UTC, or None. A time without a zone is in UTC."""
    value = record.get(key)
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def time_of_milliseconds(milliseconds: float) -> datetime | None:
    """Return the time so many milliseconds after 1970, None for 0 and for times that Python can't represent."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (ValueError, OverflowError, OSError):
        return None


def json_of(value: Json) -> str:
    """Return a value as compact JSON text, or "" if it is nested too deeply."""
    try:
        return valid_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        return ""
