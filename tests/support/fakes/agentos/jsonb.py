"""What agno and PostgreSQL change in the JSON that they store."""

import json
import re

from mcp_sessions.json_documents import Json, is_array, is_object

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class DataError(Exception):
    """The error for a value that PostgreSQL refuses, as SQLAlchemy raises it."""


def cleaned(value: Json) -> Json:
    """Remove control characters from every string, as agno does; keys stay as they are."""
    if isinstance(value, str):
        return _CONTROL_CHARACTERS.sub("", value)
    if is_object(value):
        return {key: cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if is_array(value) else value


def is_storable(value: Json) -> bool:
    """Return whether PostgreSQL accepts the value: it refuses unpaired surrogates, NaN and infinite numbers."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True
