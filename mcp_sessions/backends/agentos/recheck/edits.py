"""Edits: functions that return the fields of a session's document that an operation sets, with their new values."""

from collections.abc import Sequence

from ....errors import Invalid, Unsupported
from ....json_documents import JsonObject, merge_patch
from ....models import (
    Clearable,
    StateMode,
)
from ...session_updates import updated_state
from ...validation import json_text
from ..removals import RESERVED
from ..wire import ARCHIVED_AT, AgentOsSession
from .writer import Edit


def archive(now: str) -> Edit:
    """Return an edit that archives a session. It sets nothing if the session is archived already."""
    return lambda session: {} if session.archived_at else {"metadata": {**session.metadata, ARCHIVED_AT: now}}


def restore(name: str) -> Edit:
    """Return an edit that restores a session, and renames it unless `name` is ""."""

    def edit(session: AgentOsSession) -> JsonObject:
        fields: JsonObject = {"metadata": session.own_metadata} if session.archived_at else {}
        return fields | ({"name": name} if name else {})

    return edit


def update_state(changes: JsonObject, mode: StateMode) -> Edit:
    """Return an edit that merges `changes` into the state, or replaces the state with them."""

    def edit(session: AgentOsSession) -> JsonObject:
        state = updated_state(session, changes, mode)
        json_text(state, "state")
        return {"state": state}

    return edit


def update(metadata: JsonObject, summary: str, clear: Sequence[Clearable]) -> Edit:
    """Return an edit that sets the summary and merges `metadata`, or replaces it if "metadata" is in `clear`.

    A session that is archived stays archived.
    """

    def edit(session: AgentOsSession) -> JsonObject:
        fields: JsonObject = {}
        if metadata or "metadata" in clear:
            new = metadata if "metadata" in clear else merge_patch(session.own_metadata, metadata)
            json_text(new, "metadata")
            archived_at = {ARCHIVED_AT: session.metadata[ARCHIVED_AT]} if ARCHIVED_AT in session.metadata else {}
            fields["metadata"] = new | archived_at
        if summary or "summary" in clear:
            if session.type == "workflow":
                raise Unsupported("AgentOS stores no summary of a workflow session. Put it into metadata.")
            fields["summary"] = summary
        return fields

    return edit


def validate_metadata(metadata: JsonObject) -> JsonObject:
    """Return the metadata unchanged. Raise `Invalid` for a key that a caller can't set or a value that isn't JSON."""
    json_text(metadata, "metadata")
    if ARCHIVED_AT in metadata:
        raise Invalid(f'"metadata" can\'t hold "{ARCHIVED_AT}", which marks archived sessions. Use archive_session.')
    reserved = next((key for key in RESERVED if key in metadata), None)
    if reserved is not None:
        raise Invalid(f'"metadata" can\'t hold "{reserved}", which AgentOS reserves. Use another key.')
    return metadata
