"""What AgentOS removes from values when it stores them."""

import re

from ...json_documents import Json, JsonObject, is_array, is_object, object_in
from .recheck.values import json_equal
from .wire import AgentOsSession

RESERVED = ("agno_component_version", "agno_dispatch_chain", "agno_dispatch_depth")
"""The keys that AgentOS removes from any metadata, since a run would obey them (agno ≥ 2.7)."""
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""The characters that agno removes from every string that it stores in PostgreSQL; it leaves keys as they are."""


def has_fields(session: AgentOsSession, fields: JsonObject) -> bool:
    """Return whether the session has these values, except for what AgentOS removes."""
    document, wanted = without_reserved(session.document), without_reserved(fields)
    return all(json_equal((document[key],), (as_stored(value, document[key]),)) for key, value in wanted.items())


def removal_note(after: AgentOsSession, fields: JsonObject) -> str:
    """Return a note about what AgentOS removed from these values; "" if nothing."""
    document, wanted = without_reserved(after.document), without_reserved(fields)
    sent = object_in(fields, "metadata")
    reserved = [key for key in RESERVED if key in sent and key not in after.metadata]
    notes = [f"AgentOS removed its own {', '.join(reserved)} from the metadata."] if reserved else []
    if any(not json_equal((document[key],), (value,)) for key, value in wanted.items()):
        notes.append("AgentOS removed control characters from the text.")
    return " ".join(notes)


def as_stored(value: Json, stored: Json) -> Json:
    """Return the value without control characters if `stored` equals that, else the value unchanged."""
    cleaned = _without_control_characters(value)
    return cleaned if json_equal((cleaned,), (stored,)) else value


def without_reserved(document: JsonObject) -> JsonObject:
    """Return the document without the metadata that AgentOS doesn't store."""
    metadata = document.get("metadata")
    if not is_object(metadata):
        return document
    return document | {"metadata": {key: value for key, value in metadata.items() if key not in RESERVED}}


def _without_control_characters(value: Json) -> Json:
    if isinstance(value, str):
        return _CONTROL_CHARACTERS.sub("", value)
    if is_object(value):
        return {key: _without_control_characters(item) for key, item in value.items()}
    return [_without_control_characters(item) for item in value] if is_array(value) else value
