"""What each change makes of a session: the fields of its document that are set, each whole."""

from collections.abc import Sequence

from ....errors import Invalid, Unsupported
from ....json_documents import JsonObject, merge_patch
from ....models import (
    Clearable,
    StateMode,
)
from ...validation import json_text
from ..removals import RESERVED
from ..wire import ARCHIVED_AT, Stored
from .writer import Plan


def archived(now: str) -> Plan:
    """Nothing for one that is archived already."""
    return lambda stored: {} if stored.archived_at else {"metadata": {**stored.metadata, ARCHIVED_AT: now}}


def restored(name: str) -> Plan:
    def plan(stored: Stored) -> JsonObject:
        fields: JsonObject = {"metadata": stored.own_metadata} if stored.archived_at else {}
        return fields | ({"name": name} if name else {})

    return plan


def with_state(changes: JsonObject, mode: StateMode) -> Plan:
    def plan(stored: Stored) -> JsonObject:
        state = merge_patch(stored.state, changes) if mode == "merge" else changes
        json_text(state, "state")
        return {"state": state}

    return plan


def updated(metadata: JsonObject, summary: str, clear: Sequence[Clearable]) -> Plan:
    """`metadata` is merged, or all there is if it is cleared too; the mark of the archive stays."""

    def plan(stored: Stored) -> JsonObject:
        fields: JsonObject = {}
        if metadata or "metadata" in clear:
            new = metadata if "metadata" in clear else merge_patch(stored.own_metadata, metadata)
            json_text(new, "metadata")
            mark = {ARCHIVED_AT: stored.metadata[ARCHIVED_AT]} if ARCHIVED_AT in stored.metadata else {}
            fields["metadata"] = new | mark
        if summary or "summary" in clear:
            if stored.type == "workflow":
                raise Unsupported("AgentOS keeps no summary of a workflow's session. Put it into metadata.")
            fields["summary"] = summary
        return fields

    return plan


def own_metadata(metadata: JsonObject) -> JsonObject:
    """Metadata as a caller may set it. Raises `Invalid` for the mark of the archive, and what can't be stored."""
    json_text(metadata, "metadata")
    if ARCHIVED_AT in metadata:
        raise Invalid(f'"metadata" can\'t hold "{ARCHIVED_AT}": it marks the archive. Use archive_session.')
    reserved = next((key for key in RESERVED if key in metadata), None)
    if reserved is not None:
        raise Invalid(f'"metadata" can\'t hold "{reserved}": AgentOS keeps that for itself. Use another key.')
    return metadata
