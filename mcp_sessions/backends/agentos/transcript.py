"""Runs, as AgentOS gives them, into messages and runs.

A message of a run has an id of its own that stays. What a team's members and a workflow's steps said among
themselves belongs to their own runs; a message's `run_id` tells it apart, and it shows with the tools.
A workflow's runs, and failed ones before agno 3, hold no messages of their own: their input and output stand for
them, under the ids `RUN:in` and `RUN:out`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object
from ...models import (
    Attachment,
    HistoryQuery,
    Message,
    Role,
    Run,
    ToolCall,
)
from .wire import TYPES, moment, object_in, text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_DATA = re.compile(r"(data:[^,\"]{0,200};base64,)[\w+/=-]+", re.IGNORECASE)
_UNANSWERED = ("error", "cancelled")
"""Of such a run, the output is not what an agent said, but why it said nothing; `get_session_runs` shows it."""
_MEDIA = {"images": "image", "audio": "audio", "videos": "video", "files": "file"}


class Transcript(NamedTuple):
    """All of a session's messages and runs, oldest first; `inner` are the ids of runs inside other runs."""

    messages: Sequence[Message]
    runs: Sequence[Run]
    inner: frozenset[str]

    def selects(self, query: HistoryQuery) -> Callable[[Message], bool]:
        """Return which messages a history shows; without tools, what user and agent said to each other.

        AgentOS keeps the whole system prompt in each run, so it shows only where its role is asked for.
        """

        def is_selected(message: Message) -> bool:
            if message.role == "system" and not query.roles:
                return False
            is_inner = message.run_id in self.inner and not query.include_tools
            return not is_inner and query.selects(message)

        return is_selected


def read_transcript(answer: Json) -> Transcript:
    """From the answer of `/runs`. Raises `BadResponse` for what is no list of runs."""
    stored = runs_in(answer)
    inner: dict[str, list[JsonObject]] = {}
    for run in stored:
        inner.setdefault(text(run, "parent_run_id"), []).append(run)
    known = {text(run, "run_id") for run in stored}
    messages: list[Message] = []
    steps: set[str] = set()
    # A run inside another is told with it, which comes after it; runs that name each other as parents are told last.
    for run in sorted(stored, key=lambda run: text(run, "parent_run_id") in known):
        if text(run, "parent_run_id") not in known or text(run, "run_id") not in steps:
            messages += _messages_with(run, _inside(run, inner, steps))
    # A fork's member runs name parents of the session it was forked from.
    steps |= {text(run, "run_id") for run in stored if text(run, "parent_run_id")}
    return Transcript(messages, [read_run(run) for run in stored], frozenset(steps))


def _inside(run: JsonObject, inner: Mapping[str, Sequence[JsonObject]], told: set[str]) -> list[JsonObject]:
    """The runs inside a run, and inside those, each before what is inside it; all are `told` then."""
    found: list[JsonObject] = []
    waiting = [run]
    told.add(text(run, "run_id"))
    while waiting:
        outer = waiting.pop()
        found.append(outer)
        steps = {text(step, "run_id"): step for step in [*_steps(outer), *inner.get(text(outer, "run_id"), ())]}
        new = {run_id: step for run_id, step in steps.items() if run_id not in told}
        told.update(new)
        waiting += reversed(new.values())
    told.discard(text(run, "run_id"))
    return found[1:]


def runs_in(answer: Json) -> list[JsonObject]:
    if not is_array(answer) or not all(is_object(run) and text(run, "run_id") for run in answer):
        raise BadResponse("AgentOS answered something that is no list of runs. Check its version.")
    return answer


def read_run(run: JsonObject) -> Run:
    """Of a run, or of a preview of one; of the latter, `tool_calls` and tokens are not known."""
    said = _list(run, "messages")
    has_tools = "tools" in run or bool(said)
    output = run["content"] if "content" in run else run.get("content_preview")
    tokens = object_in(run, "metrics").get("total_tokens")
    return Run(
        id=text(run, "run_id"),
        parent_run_id=text(run, "parent_run_id"),
        agent_id=next((text(run, f"{type}_id") for type in TYPES if text(run, f"{type}_id")), ""),
        status=text(run, "status").lower(),
        created_at=_began(run),
        input=_written(run.get("run_input", object_in(run, "input").get("input_content"))),
        output=_written(output),
        tool_calls=len(_list(run, "tools")) if has_tools else None,
        total_tokens=tokens if isinstance(tokens, int) else None,
    )


def _began(run: JsonObject) -> datetime | None:
    # Before agno 2.6, an agent's run has the time at which the server was started.
    said = _list(run, "messages")
    return (moment(said[0].get("created_at")) if said else None) or moment(run.get("created_at"))


def _messages_with(run: JsonObject, told: Sequence[JsonObject]) -> list[Message]:
    """A run's messages, with those of the runs inside it where they were called."""
    own = list(_messages(run))
    place = next((place for place, message in enumerate(own, 1) if message.tool_calls), 1)
    # Who says it is the agent or team of the inner run, not the session's own.
    inside = [
        message.model_copy(update={"agent_id": read_run(step).agent_id}) for step in told for message in _messages(step)
    ]
    return [*own[:place], *inside, *own[place:]]


def _messages(run: JsonObject) -> Iterator[Message]:
    run_id, began = text(run, "run_id"), _began(run)
    said = [message for message in _list(run, "messages") if not message.get("from_history")]
    if said:
        for number, message in enumerate(said, 1):
            yield _message(message, run_id, f"{run_id}:{number}")
        return
    shown = read_run(run)
    if shown.input:
        yield Message(id=f"{run_id}:in", role="user", text=shown.input, run_id=run_id, created_at=began)
    if shown.output and shown.status not in _UNANSWERED:
        yield Message(id=f"{run_id}:out", role="assistant", text=shown.output, run_id=run_id, created_at=began)


def _steps(run: JsonObject) -> list[JsonObject]:
    return [step for step in _list(run, "step_executor_runs") if text(step, "run_id")]


def _message(message: JsonObject, run_id: str, fallback_id: str) -> Message:
    return Message(
        id=text(message, "id") or fallback_id,
        role=_ROLES.get(text(message, "role"), "assistant"),
        text=_written(message.get("content")),
        created_at=moment(message.get("created_at")),
        run_id=run_id,
        tool_calls=tuple(_tool_call(call) for call in _list(message, "tool_calls")),
        tool_name=text(message, "tool_name"),
        attachments=tuple(_attachment(item, kind) for field, kind in _MEDIA.items() for item in _list(message, field)),
    )


def _tool_call(call: JsonObject) -> ToolCall:
    function = object_in(call, "function")
    arguments = function.get("arguments", "")
    return ToolCall(
        id=text(call, "id"),
        name=text(function, "name"),
        arguments=arguments
        if isinstance(arguments, str)
        else json.dumps(arguments, ensure_ascii=False, separators=(",", ":")),
    )


def _attachment(item: JsonObject, kind: str) -> Attachment:
    """What was attached, without its data: AgentOS gives that as base64."""
    content = item.get("content")
    url = text(item, "url")
    return Attachment(
        type=kind,
        media_type=text(item, "mime_type") or text(item, "format"),
        url="" if url.strip().lower().startswith("data:") else url,
        bytes=len(content.rstrip("=")) * 3 // 4 if isinstance(content, str) and not url else None,
    )


def _written(content: Json) -> str:
    """What was said as text: of parts, their texts; of a structured answer, its JSON."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if is_array(content) and any(is_object(part) and "text" in part for part in content):
        return "\n".join(text(part, "text") for part in content if is_object(part) and "text" in part)
    return _DATA.sub(r"\1…", json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def _list(value: JsonObject, key: str) -> list[JsonObject]:
    found = value.get(key)
    return [item for item in found if is_object(item)] if is_array(found) else []
