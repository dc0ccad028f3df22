"""Validation of names, types and JSON before a backend stores them. Errors name the field and what it accepts."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator

from ..errors import Conflict, Invalid, quoted
from ..json_documents import Json, JsonObject, is_array, is_object
from ..models import SessionFilter
from ..text.validate import check_text

NAME_LENGTH = 512
TEXT_LENGTH = 1024 * 1024
SUMMARY_LENGTH = 16_384
JSON_BYTES = 1024 * 1024
JSON_DEPTH = 64


def session_name(value: str) -> str:
    """Return the name without surrounding spaces. Raise `Invalid` if nothing in it is visible, unless it is ""."""
    trimmed = check_text(value, "name", NAME_LENGTH).strip()
    if value and not any(unicodedata.category(char)[0] not in "CZ" for char in trimmed):
        raise Invalid('"name" has no visible character. Give it a letter, or "" to clear it.')
    return trimmed


def session_type(value: str) -> str:
    """Return the type. Raise `Invalid` if it is malformed."""
    if not re.fullmatch(r"[a-z0-9_-]{1,32}", value):
        raise Invalid(
            f'"type" must be agent, team, workflow or a word of up to 32 of a-z, 0-9, _, -; not {quoted(value)}.'
        )
    return value


def check_filter(filter: SessionFilter) -> None:
    """Raise `Invalid` for a malformed `query` or `type`."""
    check_text(filter.query, "query", NAME_LENGTH)
    if filter.type:
        session_type(filter.type)


def json_text(value: JsonObject, field: str) -> str:
    """Return compact JSON of an object. Raise `Invalid` if a JSON reader could not read it back exactly."""
    for item, depth in _items(value):
        if depth > JSON_DEPTH and isinstance(item, dict | list):
            raise Invalid(f'"{field}" is nested deeper than {JSON_DEPTH} levels. Flatten it.')
        if isinstance(item, float) and not math.isfinite(item):
            raise Invalid(f'"{field}" has NaN or an infinite number, which JSON lacks. Use null or a string.')
        if isinstance(item, int) and item.bit_length() > 1024:
            raise Invalid(f'"{field}" has a number that is too large for JSON readers. Write it as a string.')
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f'"{field}" has half of a surrogate pair, which is not valid text. Remove it.') from None
    if size > JSON_BYTES:
        raise Invalid(f'"{field}" would take {size:,} bytes; at most {JSON_BYTES:,} are stored. Store less.')
    return text


def _items(value: Json) -> Iterator[tuple[Json, int]]:
    """Yield every nested value with its depth. Not recursive, since the depth may exceed Python's limit."""
    pending: list[tuple[Json, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        yield item, depth
        if is_object(item):
            pending += [(child, depth + 1) for child in item.values()]
        elif is_array(item):
            pending += [(child, depth + 1) for child in item]


def check_version(session_id: str, version: str, expected: str) -> None:
    """Raise `Conflict` if an expected version is given and is not the session's."""
    if expected and expected != version:
        raise Conflict(
            f"session {quoted(session_id)} is at version {version} now, not {quoted(expected)}. "
            "Read it again with get_session, then repeat the change."
        )
