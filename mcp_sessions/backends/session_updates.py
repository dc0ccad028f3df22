"""The new values of a session's state, metadata and summary after an update."""

from collections.abc import Sequence
from typing import Protocol

from ..errors import Invalid
from ..json_documents import Json, JsonObject, merge_patch
from ..models import Clearable, StateMode
from ..text.validate import check_text
from .validation import SUMMARY_LENGTH, json_text


class _HasState(Protocol):
    @property
    def state(self) -> Json: ...


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> JsonObject: ...


def updated_state(session: _HasState, changes: JsonObject, mode: StateMode) -> Json:
    """Return the state after `update_session_state`."""
    return merge_patch(session.state, changes) if mode == "merge" else changes


def check_update(metadata: JsonObject | None, summary: str, clear: Sequence[Clearable]) -> None:
    """Raise `Invalid` if `update_session` is called with nothing to change, or a value that can't be stored."""
    if not (metadata or summary or clear):
        raise Invalid('nothing to change. Give "metadata", "summary" or "clear".')
    json_text(metadata or {}, "metadata")
    check_text(summary, "summary", SUMMARY_LENGTH)


def updated_fields(
    session: _HasMetadata, metadata: JsonObject | None, summary: str, clear: Sequence[Clearable]
) -> JsonObject:
    """Return the fields that `update_session` sets, with their new values."""
    changed: JsonObject = {}
    if metadata or "metadata" in clear:
        given = metadata or {}
        changed["metadata"] = given if "metadata" in clear else merge_patch(session.metadata, given)
    if summary or "summary" in clear:
        changed["summary"] = summary
    return changed
