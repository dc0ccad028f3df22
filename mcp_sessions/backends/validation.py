"""What every backend may store, and what none keeps whole: a refusal names the field and what it accepts."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator

from ..errors import Conflict, Invalid, quoted
from ..json_documents import Json, JsonObject, is_array, is_object
from ..text.validate import plain

NAME_LENGTH = 512
TEXT_LENGTH = 1024 * 1024
SUMMARY_LENGTH = 16_384
JSON_BYTES = 1024 * 1024
JSON_DEPTH = 64


def session_name(value: str) -> str:
    """A name, trimmed. `""` stays: it clears."""
    trimmed = plain(value, "name", NAME_LENGTH).strip()
    if value and not any(unicodedata.category(char)[0] not in "CZ" for char in trimmed):
        raise Invalid('"name" has nothing that can be seen. Give it a letter, or "" to clear it.')
    return trimmed


def session_type(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,32}", value):
        raise Invalid(
            f'"type" must be agent, team, workflow or a word of up to 32 of a-z, 0-9, _, -; not {quoted(value)}.'
        )
    return value


def json_text(value: JsonObject, field: str) -> str:
    """Compact JSON of an object that every client can read back exactly."""
    for item, depth in _items(value):
        if depth > JSON_DEPTH and isinstance(item, dict | list):
            raise Invalid(f'"{field}" is nested deeper than {JSON_DEPTH} levels. Flatten it.')
        if isinstance(item, float) and not math.isfinite(item):
            raise Invalid(f'"{field}" has NaN or an infinite number, which JSON has not. Use null or a string.')
        if isinstance(item, int) and item.bit_length() > 1024:
            raise Invalid(f'"{field}" has a number that JSON readers can\'t hold. Write it as a string.')
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f'"{field}" has half of a surrogate pair, which is no text. Remove it.') from None
    if size > JSON_BYTES:
        raise Invalid(f'"{field}" would take {size:,} bytes; at most {JSON_BYTES:,} are stored. Store less.')
    return text


def _items(value: Json) -> Iterator[tuple[Json, int]]:
    """Every value inside, with its depth; without recursion, since depth is what is in doubt."""
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
