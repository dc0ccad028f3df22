"""Possible readings of Guayaba's documents, each as a switch: a client must work with every reading."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of the documents. The defaults are the more likely ones."""

    foreign_agent: Literal[404, 403] = 404
    """The status for an agent of another owner, with a master key."""
    body_first: bool = False
    """Whether a wrong body is refused before the agent's state is checked."""
    agent_answer: Literal["bare", "data"] = "bare"
    most_agents: int = 100
    """The largest page of agents, whatever size is requested."""

    coerces_limit: bool = True
    """Whether the string "10" is accepted as 10; else it is refused."""
    default_limit: int = 200
    """How many messages a history has if no limit is sent."""
    history_order: Literal["oldest_first", "newest_first"] = "oldest_first"
    """The order of messages; in either, the newest ones are returned."""
    history_shape: Literal["array", "messages", "data"] = "array"
    archives_shape: Literal["array", "archives", "data"] = "array"
    message_seconds: bool = False
    """Whether a message's timestamp is in seconds; else in milliseconds."""
    message_ids: bool = True
    message_fields: Literal["passed_on", "documented"] = "passed_on"
    """"passed_on" has the fields of OpenClaw's transcript too: `toolName`, `toolCallId`, `model`, `usage` …"""

    empty_label: Literal["clears", "refused", "kept"] = "clears"
    absent_label: Literal["clears", "keeps", "refused"] = "clears"
    duplicate_labels: bool = True
    """Whether two sessions may have the same label; else the second one is refused with 409."""
    longest_label: int = 255
    label_counts: Literal["code_points", "utf16"] = "code_points"
    trims: bool = False
    """Whether white space at both ends of every string in a body is removed."""
    rename_touches: bool = True
    """Whether a rename sets `updatedAt`."""
    absent_as: Literal["null", "missing"] = "null"
    """How a session or archive without a label is rendered."""

    change_answer: Literal["empty", "no_content", "any_json"] = "empty"
    """The body of a response to a change; "any_json" is another value each time."""
    unknown_key: Literal["not_found", "upserts"] = "not_found"
    """"upserts": a rename creates a session, the other changes do nothing and succeed, a history is empty."""
    main_when_removed: Literal["gone", "anew", "refused"] = "gone"
    """The result of archiving or deleting `agent:main:main`: it is gone, or recreated at once, empty and with another
    session id, or the request is refused with 422."""
    archive_resets: bool = False
    """Whether any archived session is recreated at once in the same way."""
    short_keys: bool = True
    """Whether `api:x` stands for `agent:main:api:x`."""

    archive_keeps_label: bool = True
    archive_has_session_id: bool = True
    filenames: Literal["plain", "full", "opaque"] = "plain"
    """`<sessionId>.jsonl.reset.<time>`, the same with a topic and compressed, or an opaque name."""
    archived_at: Literal["Z", "offset", "filename", "epoch", "absent", "mixed"] = "Z"
    traversal: Literal[422, 404] = 422
    """The status for a filename with `/`, `\\` or `..`."""
    deleted_are_archived: bool = False
    """Whether a deleted session is in the archives, as in OpenClaw."""

    restored_key: Literal["old", "new"] = "old"
    """The key of a restored session; the old one is used if it is free."""
    restore_keeps_label: bool = True
    """Whether a restored session has its archived label if the request has none."""
    restore_keeps_session_id: bool = True
    restore_touches: bool = False
    """Whether restoring a session sets the time of its last update."""

    malformed: Literal[422, 400] = 422
    """The status for a body that is not JSON."""
    html_to_browsers: bool = False
    """Whether a 422 is a redirect, and every other error a page, without `Accept: application/json`."""


DEFAULT = Reading()
OTHER = Reading(
    foreign_agent=403,
    body_first=True,
    agent_answer="data",
    most_agents=2,
    coerces_limit=False,
    default_limit=50,
    history_order="newest_first",
    history_shape="messages",
    archives_shape="data",
    message_seconds=True,
    message_ids=False,
    message_fields="documented",
    empty_label="refused",
    absent_label="keeps",
    duplicate_labels=False,
    label_counts="utf16",
    trims=True,
    rename_touches=False,
    absent_as="missing",
    change_answer="any_json",
    unknown_key="upserts",
    main_when_removed="refused",
    short_keys=False,
    filenames="full",
    archived_at="mixed",
    traversal=404,
    restored_key="new",
    restore_keeps_label=False,
    restore_touches=True,
    malformed=400,
    html_to_browsers=True,
)
OPENCLAW = replace(
    DEFAULT,
    duplicate_labels=False,
    trims=True,
    absent_as="missing",
    change_answer="no_content",
    unknown_key="upserts",
    main_when_removed="refused",
    archive_keeps_label=False,
    archived_at="filename",
    deleted_are_archived=True,
    restored_key="new",
    html_to_browsers=True,
)
"""The behaviour of OpenClaw's gateway, as if Guayaba passed every call on to it."""

READINGS: Mapping[str, Reading] = MappingProxyType({"default": DEFAULT, "other": OTHER, "openclaw": OPENCLAW})
"""Complete readings; a test creates variants with `dataclasses.replace`."""
