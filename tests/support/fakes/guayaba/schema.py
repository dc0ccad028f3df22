"""The OpenAPI document of Guayaba, and functions that check requests and responses against it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcp_sessions.json_documents import Json, JsonObject, is_array, is_object

from .readings import Reading

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

BODIES: Mapping[str, Mapping[str, str]] = {
    "sessions/history": {"sessionKey": "required", "limit": "limit"},
    "sessions/rename": {"key": "required", "label": "label or null"},
    "sessions/archive": {"key": "required"},
    "sessions/delete": {"key": "required"},
    "archives/restore": {"filename": "required", "label": "label"},
    "archives/delete": {"filename": "required"},
}
"""Each POST below /agents/{id}, with the properties of its body."""

Kinds = tuple[type[object], ...]

ITEMS: Mapping[str, Mapping[str, Kinds]] = {
    "sessions": {
        "key": (str,),
        "sessionId": (str,),
        "sessionFile": (str,),
        "label": (str, type(None)),
        "updatedAt": (int,),
        "chatType": (str,),
        "lastChannel": (str,),
        "origin": (dict,),
    },
    "sessions/history": {"id": (str,), "role": (str,), "content": (str, list), "timestamp": (int,)},
    "archives": {"filename": (str,), "label": (str, type(None)), "archivedAt": (str,), "sessionId": (str,)},
}
"""The properties of the rows that each read returns; none is required, and others are allowed."""

CATEGORIES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    422: "Validation Error",
    429: "Too Many Requests",
    500: "Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
"""The fields of an error in addition to its message."""


class Refused(Exception):
    """An error response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message

    @property
    def body(self) -> JsonObject:
        return {"error": CATEGORIES[self.status], "message": self.message}


@dataclass(frozen=True)
class Asked:
    """A valid body. `label` is None if it is null, and `has_label` is whether the body had one."""

    key: str
    """The session's key, or an archive's filename."""
    limit: int | None = None
    label: str | None = None
    has_label: bool = False


def asked(operation: str, body: bytes, content_type: str, reading: Reading) -> Asked:
    """Return the body of a POST. Raise `Refused` for one that a server might refuse."""
    given = _parsed(body, content_type, reading)
    properties = BODIES[operation]
    for name in given:
        if name not in properties:  # Laravel ignores it; nobody should rely on that
            raise Refused(422, f"The {name} field is not known.")
    if reading.trims:
        given = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
    (required,) = [name for name, kind in properties.items() if kind == "required"]
    key = given.get(required)
    if not isinstance(key, str) or not key:
        raise Refused(422, f"The {required} field is required.")
    return Asked(key, _limit(given, reading), _label(given, properties.get("label", ""), reading), "label" in given)


def _parsed(body: bytes, content_type: str, reading: Reading) -> JsonObject:
    if not content_type.startswith("application/json"):
        raise Refused(422, "The body must be JSON.")
    try:
        given: Json = json.loads(body)
        json.dumps(given, ensure_ascii=False).encode()  # half a surrogate pair is no JSON to PHP
    except (ValueError, RecursionError) as error:
        raise Refused(reading.malformed, "The body is malformed.") from error
    if not is_object(given):
        raise Refused(422, "The body must be an object.")
    return given


def _limit(given: JsonObject, reading: Reading) -> int | None:
    if "limit" not in given:
        return None
    limit = given["limit"]
    if reading.coerces_limit and isinstance(limit, str) and re.fullmatch("[0-9]{1,9}", limit):
        limit = int(limit)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 1000:
        raise Refused(422, "The limit field must be an integer between 1 and 1000.")
    return limit


def _label(given: JsonObject, kind: str, reading: Reading) -> str | None:
    label = given.get("label")
    if label is None:
        if "label" in given and kind != "label or null":
            raise Refused(422, "The label field must be a string.")
        return None
    if not isinstance(label, str):
        raise Refused(422, "The label field must be a string.")
    length = len(label) if reading.label_counts == "code_points" else len(label.encode("utf-16-le")) // 2
    if length > reading.longest_label:
        raise Refused(422, f"The label field must not be greater than {reading.longest_label} characters.")
    if not label and reading.empty_label == "refused":
        raise Refused(422, "The label field must not be empty.")
    return label if label or reading.empty_label == "kept" else None


def problems_of(operation: str, items: Sequence[Json]) -> list[str]:
    """Return how a response breaks the schema."""
    return [
        f"{operation}: {problem}"
        for item in items
        for problem in (_problems(ITEMS[operation], item) if is_object(item) else ["an item is no object"])
    ]


def _problems(properties: Mapping[str, Kinds], item: JsonObject) -> list[str]:
    found = [
        f"{name} is {type(item[name]).__name__}"
        for name, kinds in properties.items()
        if name in item and type(item[name]) not in kinds
    ]
    if "updatedAt" in properties and isinstance(item.get("sessionId"), str) and not UUID.fullmatch(item["sessionId"]):
        found.append("sessionId is no UUID")
    content = item.get("content")
    if "content" in properties and is_array(content) and not all(is_object(block) for block in content):
        found.append("content has a block that is no object")
    return found
