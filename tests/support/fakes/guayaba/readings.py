"""What the documents of Guayaba leave open, each as a switch: a client has to bear every reading."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read the documents. The defaults are the likelier ones."""

    foreign_agent: Literal[404, 403] = 404
    """To a master key, an agent of another owner."""
    body_first: bool = False
    """A wrong body is refused before it is looked whether the agent runs."""
    agent_answer: Literal["bare", "data"] = "bare"
    most_agents: int = 100
    """The longest page of agents, whatever is asked for."""

    coerces_limit: bool = True
    """"10" is 10; else it is refused."""
    default_limit: int = 200
    """How many messages a history has where no limit is given."""
    history_order: Literal["oldest_first", "newest_first"] = "oldest_first"
    """The newest ones are given in either."""
    history_shape: Literal["array", "messages", "data"] = "array"
    archives_shape: Literal["array", "archives", "data"] = "array"
    message_seconds: bool = False
    """A message's timestamp is in seconds; else in milliseconds."""
    message_ids: bool = True
    message_fields: Literal["passed_on", "documented"] = "passed_on"
    """"passed_on" has the fields of OpenClaw's transcript too: `toolName`, `toolCallId`, `model`, `usage` …"""

    empty_label: Literal["clears", "refused", "kept"] = "clears"
    absent_label: Literal["clears", "keeps", "refused"] = "clears"
    duplicate_labels: bool = True
    """A label may be had twice; else it is refused with 409."""
    longest_label: int = 255
    label_counts: Literal["code_points", "utf16"] = "code_points"
    trims: bool = False
    """White space at both ends of every string in a body goes."""
    rename_touches: bool = True
    """A rename sets `updatedAt`."""
    absent_as: Literal["null", "missing"] = "null"
    """How a session or archive without a label tells that."""

    change_answer: Literal["empty", "no_content", "any_json"] = "empty"
    """"any_json" is of another shape each time."""
    unknown_key: Literal["not_found", "upserts"] = "not_found"
    """"upserts": a rename creates a session, the other changes do nothing and succeed, a history is empty."""
    main_when_removed: Literal["gone", "anew", "refused"] = "gone"
    """What becomes of `agent:main:main` when it is archived or deleted: it may be there again at once, empty and with
    another session id, or that is refused with 422."""
    archive_resets: bool = False
    """The key of any archived session is there again at once, in the same way."""
    short_keys: bool = True
    """`api:x` is taken for `agent:main:api:x`."""

    archive_keeps_label: bool = True
    archive_has_session_id: bool = True
    filenames: Literal["plain", "full", "opaque"] = "plain"
    """`<sessionId>.jsonl.reset.<time>`, the same with a topic and compressed, or one that tells nothing."""
    archived_at: Literal["Z", "offset", "filename", "epoch", "absent", "mixed"] = "Z"
    traversal: Literal[422, 404] = 422
    """A filename with `/`, `\\` or `..`."""
    deleted_are_archived: bool = False
    """As OpenClaw does it: a deleted session is among the archives."""

    restored_key: Literal["old", "new"] = "old"
    """The old one is given if it is free."""
    restore_keeps_label: bool = True
    """Without a label in the request, the archived one comes back."""
    restore_keeps_session_id: bool = True
    restore_touches: bool = False
    """A restored session was updated now."""

    malformed: Literal[422, 400] = 422
    """A body that is no JSON."""
    html_to_browsers: bool = False
    """Without `Accept: application/json`, a 422 is a redirect and every other error a page."""


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
"""What the gateway does that Guayaba hosts, as if every call were passed on to it."""

READINGS: Mapping[str, Reading] = MappingProxyType({"default": DEFAULT, "other": OTHER, "openclaw": OPENCLAW})
"""Whole sets; a test makes another one of them with `dataclasses.replace`."""
