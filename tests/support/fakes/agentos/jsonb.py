"""What agno and PostgreSQL make of the JSON that they are given to store."""

import json
import re

from mcp_sessions.json_documents import Json, is_array, is_object

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class DataError(Exception):
    """A value that PostgreSQL refuses, as SQLAlchemy raises it."""


def cleaned(value: Json) -> Json:
    """Remove control characters from every string, as agno does; keys stay as they are."""
    if isinstance(value, str):
        return _CONTROL_CHARACTERS.sub("", value)
    if is_object(value):
        return {key: cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if is_array(value) else value


def is_storable(value: Json) -> bool:
    """Return whether PostgreSQL takes it: it refuses half a surrogate pair, NaN and infinite numbers."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True
