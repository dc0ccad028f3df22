"""The lines of a rollout: what each of them is. docs/backends/codex.md describes the format."""

import re
from enum import Enum
from functools import lru_cache

from ...json_documents import JsonObject, object_in
from ..transcripts.lines import parse
from ..transcripts.values import text_in

_BEGIN = rb'\{"timestamp":"[^"\\]{0,40}",(?:"ordinal":[0-9]{1,18},)?"type":"'
_begin = re.compile(_BEGIN + rb'([a-z_]{1,40})","payload":\{(?:"type":"([a-z_]{1,40})")?').match
has_no_text = re.compile(
    _BEGIN + rb'(?:(?!event_msg")[a-z_]{1,40}"|event_msg","payload":\{"type":"(?:'
    rb"(?!(?:user_message|agent_message|item_completed|context_compacted|thread_rolled_back)\")[a-z_]{1,40}\"|"
    rb'item_completed",[^{}]{0,400}"item":\{"type":"(?!(?:UserMessage|AgentMessage|ContextCompaction)")))'
).match
"""Tells from the beginning of a line whether a search ignores it: the use of a tool, and what is neither a message nor
the removal of turns. Most bytes of a long rollout are in such lines.
"""


class LineType(Enum):
    """What a line is, as far as it matters."""

    META = "what the rollout says of its thread"
    MESSAGE = "a message, or another item of a paginated rollout"
    TOOL = "a call of a tool or its result, as the model saw it"
    TURN_START = "the beginning of a turn"
    TURN_END = "the end of a turn"
    ROLLBACK = "the last turns are removed"
    TURN_TOKENS = "the tokens of a turn so far"
    TOKEN_COUNT = "the tokens of the thread so far"
    OTHER = ""


_EVENTS = {
    "user_message": LineType.MESSAGE,
    "agent_message": LineType.MESSAGE,
    "item_completed": LineType.MESSAGE,
    "context_compacted": LineType.MESSAGE,
    "task_started": LineType.TURN_START,
    "turn_started": LineType.TURN_START,
    "task_complete": LineType.TURN_END,
    "turn_complete": LineType.TURN_END,
    "turn_aborted": LineType.TURN_END,
    "thread_rolled_back": LineType.ROLLBACK,
    "token_count": LineType.TOKEN_COUNT,
}
CALLS = ("function_call", "custom_tool_call", "local_shell_call", "web_search_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")


def line_type(data: bytes) -> LineType:
    """Return what a line is, if possible from its beginning alone.

    Most bytes of a long rollout are in lines that are of no interest, so these are not parsed.
    """
    match = _begin(data)
    if match is not None:
        return _type_of(*match.groups(b""))
    record = parse(data)
    return (
        _type_of(text_in(record, "type").encode(), text_in(object_in(record, "payload"), "type").encode())
        if record
        else LineType.OTHER
    )


@lru_cache(256)
def _type_of(type_bytes: bytes, inner_bytes: bytes) -> LineType:
    type, inner = type_bytes.decode(), inner_bytes.decode()
    if type == "event_msg":
        return _EVENTS.get(inner, LineType.OTHER)
    if type == "response_item":
        return LineType.TOOL if inner in CALLS or inner in OUTPUTS else LineType.OTHER
    return {"session_meta": LineType.META, "token_usage_record": LineType.TURN_TOKENS}.get(type, LineType.OTHER)


def line_payload(data: bytes) -> JsonObject:
    """Return the payload of a line, an empty object if the line can't be read."""
    return object_in(parse(data) or {}, "payload")
