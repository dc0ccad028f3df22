"""Parses the bytes that a client sends into messages, or into the response to an invalid message."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeGuard

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

MAX_LINE = 4 * 1024 * 1024
_HEAD = 4096
_TAIL = 256

NOT_UTF8 = "the message is not valid UTF-8. Encode it as UTF-8 and send it again."
UNPAIRED_SURROGATE = (
    "the message has half of a surrogate pair (an escape such as \\ud83d without its other half), "
    "which is not a character. Send whole characters."
)
TOO_DEEP = "the message is nested 200 levels deep or more. Send it with less nesting."
LONG_NUMBER = "the message has a number of more than 4300 digits. Send a shorter one."
NOT_JSON = "the message is not valid JSON. Send one JSON object at a time."
NOT_AN_OBJECT = "the message is not an object. Send one JSON object at a time."
BATCH = "batches are not supported. Send one message at a time."
TOO_LONG = "the message is longer than 4 MiB. Send less at a time."

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}:,"]|[^][{}:,"\s]+', re.DOTALL)
_DEPTH_CHANGES = {"{": 1, "[": 1, "}": -1, "]": -1}
# Directly before the end of the line, these unescaped quotes can only belong to a key of the outermost object.
_LAST_MEMBER_IS_ID = re.compile(rb'[,{]\s*"id"\s*:\s*(-?\d{1,18}|"[^"\\\x00-\x1f]*")\s*}\s*$')


@dataclass(frozen=True, slots=True)
class LongLine:
    """The beginning and the end of a line longer than MAX_LINE."""

    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response to an invalid message.

    `answer`: the line to send. `is_result`: it is the result of a failed tool call rather than a JSON-RPC error.
    `substitute_reply`: if the message was an invalid reply to a request of ours, the error to use as the reply.
    """

    answer: bytes
    is_result: bool = False
    substitute_reply: JSONRPCError | None = None


class LineSplitter:
    """Splits a stream of bytes into lines, without blank ones. It buffers at most MAX_LINE of a line."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._head: bytes | None = None

    def feed(self, chunk: bytes) -> list[bytes | LongLine]:
        *ended, rest = chunk.split(b"\n")
        lines = [self._end(part) for part in ended]
        self._partial += rest
        self._bound()
        return [line for line in lines if isinstance(line, LongLine) or line.strip()]

    def finish(self) -> list[bytes | LongLine]:
        """Return the last line, if it has no line break."""
        return self.feed(b"\n")

    def _end(self, part: bytes) -> bytes | LongLine:
        self._partial += part
        self._bound()
        content = bytes(self._partial)
        line = content if self._head is None else LongLine(self._head, content)
        self._partial, self._head = bytearray(), None
        return line

    def _bound(self) -> None:
        if self._head is None and len(self._partial) > MAX_LINE:
            self._head = bytes(self._partial[:_HEAD])
        if self._head is not None:
            del self._partial[:-_TAIL]


def read_frame(line: bytes | LongLine) -> JSONRPCMessage | Refusal:
    """Return the message in `line`, or the response to an invalid one."""
    if isinstance(line, LongLine):
        return Refusal(error_line(_id_of_long_line(line), INVALID_REQUEST, TOO_LONG))
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        return _refuse(line)
    if isinstance(message, JSONRPCRequest):
        return message
    # The SDK parses a request with an invalid id as a notification, and a request with an error as a reply.
    unexpected = "id" if isinstance(message, JSONRPCNotification) else "method"
    return _refuse(line) if unexpected in json.loads(line) else message


def error_line(request_id: str | int | None, code: int, text: str) -> bytes:
    return _line(request_id, error={"code": code, "message": text})


def tool_error_line(request_id: str | int, text: str) -> bytes:
    return _line(request_id, result=tool_error(text))


def tool_error(text: str) -> dict[str, Any]:
    """Return the result of a failed tool call for all protocol versions; 2026-07-28 requires `resultType`."""
    return {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}


def _line(request_id: str | int | None, **body: object) -> bytes:
    # Escaped to ASCII, since the request's id may have half of a surrogate pair.
    return json.dumps({"jsonrpc": "2.0", "id": request_id, **body}, separators=(",", ":")).encode() + b"\n"


def _refuse(line: bytes) -> Refusal:
    text = line.decode(errors="replace")
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError:
        return Refusal(error_line(None, PARSE_ERROR, NOT_JSON))
    except RecursionError:
        return _refuse_members(_scalar_members(text), "", TOO_DEEP)
    except ValueError:
        return _refuse_members(_scalar_members(text), "", LONG_NUMBER)
    if isinstance(value, list):
        return Refusal(error_line(None, INVALID_REQUEST, BATCH))
    if not _is_object(value):
        return Refusal(error_line(None, INVALID_REQUEST, NOT_AN_OBJECT))
    return _refuse_members(value, _shape_problem(value), _content_problem(line, value))


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _refuse_members(members: dict[str, Any], shape_problem: str, content_problem: str) -> Refusal:
    request_id = _readable_id(members)
    is_tool_call = members.get("method") == "tools/call"
    problem = shape_problem or content_problem
    if "method" not in members and ("result" in members or "error" in members):
        # The id belongs to our request. A response with it could be taken for the response to another request.
        substitute_reply = None if request_id is None else _error_reply(request_id, problem)
        return Refusal(error_line(None, INVALID_REQUEST, problem), substitute_reply=substitute_reply)
    if is_tool_call and not shape_problem and request_id is not None:
        return Refusal(tool_error_line(request_id, f"invalid: {content_problem}"), is_result=True)
    return Refusal(error_line(request_id, INVALID_REQUEST, problem))


def _error_reply(request_id: str | int, problem: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=INVALID_REQUEST, message=problem))


def _readable_id(members: dict[str, Any]) -> str | int | None:
    value = members.get("id")
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _shape_problem(members: dict[str, Any]) -> str:
    if members.get("jsonrpc") != "2.0":
        return 'the member jsonrpc must be "2.0".'
    if "id" in members and _readable_id(members) is None:
        return "the member id must be a string or an integer; a notification has none."
    if "method" not in members and ("result" in members or "error" in members):
        return "the reply must have an id, and either an object result or an error with code and message."
    if not isinstance(members.get("method"), str):
        return "the member method is missing or not a string."
    if not isinstance(members.get("params"), dict | None):
        return "the member params must be an object."
    if "error" in members:
        return "a request must not have the member error."
    return ""


def _content_problem(line: bytes, members: dict[str, Any]) -> str:
    try:
        line.decode()
        # The parser allows a little more nesting than the serializer.
        with suppress(RecursionError):
            json.dumps(members, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return NOT_UTF8
    except UnicodeEncodeError:
        return UNPAIRED_SURROGATE
    return TOO_DEEP


def _id_of_long_line(line: LongLine) -> str | int | None:
    members = _scalar_members(line.head.decode(errors="replace"))
    last = _LAST_MEMBER_IS_ID.search(line.tail)
    if "id" not in members and last is not None:
        members["id"] = json.loads(last[1].decode(errors="replace"))
    return _readable_id(members)


def _scalar_members(text: str) -> dict[str, Any]:
    """Return the scalar members of the outermost object, without parsing nested values.

    This works for text that is cut off or nested too deeply to parse. It stops once it has `id` and `method`.
    """
    members: dict[str, Any] = {}
    depth, key = 0, ""
    for token in _TOKEN.finditer(text):
        word = token[0]
        if depth == 1 and key and _DEPTH_CHANGES.get(word) == 1:
            _add_member(members, key, "null")
        depth += _DEPTH_CHANGES.get(word, 0)
        if word == '"' or {"id", "method"} <= members.keys():
            break
        if depth != 1 or word == ":" or word in _DEPTH_CHANGES:
            continue
        if word == ",":
            key = ""
        elif not key:
            key = word
        elif token.end() < len(text):
            _add_member(members, key, word)
    return members


def _add_member(members: dict[str, Any], key: str, word: str) -> None:
    try:
        members[json.loads(key)] = json.loads(word)
    except (ValueError, TypeError):
        return  # not valid JSON
