"""Functions that convert AgentOS's runs to our messages and runs.

A message has an id of its own, which never changes. The messages of a team's members and a workflow's steps belong to
inner runs. Their `run_id` is that of the inner run, and a history shows them only if it includes tool calls.

A workflow's runs have no messages of their own, and neither do failed runs before agno 3. Their input and output
become messages with the ids `RUN:in` and `RUN:out`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ...errors import BadResponse
from ...json_documents import Json, JsonObject, is_array, is_object, object_in, text_in
from ...models import (
    Attachment,
    HistoryQuery,
    Message,
    Role,
    Run,
    ToolCall,
)
from .wire import TYPES, read_time

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_BASE64_DATA = re.compile(r"(data:[^,\"]{0,200};base64,)[\w+/=-]+", re.IGNORECASE)
_WITHOUT_ANSWER = ("error", "cancelled")
"""In runs with these statuses, the output is not an answer but an error. Only `get_session_runs` shows it."""
_ATTACHMENTS = {"images": "image", "audio": "audio", "videos": "video", "files": "file"}


class RunTranscript(NamedTuple):
    """All messages and runs of a session, oldest first."""

    messages: Sequence[Message]
    runs: Sequence[Run]
    inner_run_ids: frozenset[str]

    def selects(self, query: HistoryQuery) -> Callable[[Message], bool]:
        """Return a function that returns whether a history shows a message.

        Without tools, a history shows no inner runs. AgentOS stores the whole system prompt with each run, so a history
        shows it only if its role is requested.
        """

        def is_selected(message: Message) -> bool:
            if message.role == "system" and not query.roles:
                return False
            is_inner = message.run_id in self.inner_run_ids and not query.include_tools
            return not is_inner and query.selects(message)

        return is_selected


def read_transcript(answer: Json) -> RunTranscript:
    """Return the transcript in an answer of `/runs`. Raise `BadResponse` if it is not a list of runs."""
    runs = runs_in(answer)
    inner: dict[str, list[JsonObject]] = {}
    for run in runs:
        inner.setdefault(text_in(run, "parent_run_id"), []).append(run)
    known = {text_in(run, "run_id") for run in runs}
    messages: list[Message] = []
    steps: set[str] = set()
    # An inner run is added with its outer run, so outer runs come first, and runs that are each other's parents last.
    for run in sorted(runs, key=lambda run: text_in(run, "parent_run_id") in known):
        if text_in(run, "parent_run_id") not in known or text_in(run, "run_id") not in steps:
            messages += _messages_with_inner(run, _inner_runs(run, inner, steps))
    # A fork's member runs still name parents in the session that it was forked from.
    steps |= {text_in(run, "run_id") for run in runs if text_in(run, "parent_run_id")}
    return RunTranscript(messages, [read_run(run) for run in runs], frozenset(steps))


def _inner_runs(run: JsonObject, inner: Mapping[str, Sequence[JsonObject]], seen: set[str]) -> list[JsonObject]:
    """Return the runs inside a run, at any depth, each before its own inner runs. Add their ids to `seen`."""
    found: list[JsonObject] = []
    waiting = [run]
    seen.add(text_in(run, "run_id"))
    while waiting:
        outer = waiting.pop()
        found.append(outer)
        steps = {text_in(step, "run_id"): step for step in [*_steps(outer), *inner.get(text_in(outer, "run_id"), ())]}
        new = {run_id: step for run_id, step in steps.items() if run_id not in seen}
        seen.update(new)
        waiting += reversed(new.values())
    seen.discard(text_in(run, "run_id"))
    return found[1:]


def runs_in(answer: Json) -> list[JsonObject]:
    """Return the runs in an answer. Raise `BadResponse` if it is not a list of runs."""
    if not is_array(answer) or not all(is_object(run) and text_in(run, "run_id") for run in answer):
        raise BadResponse("AgentOS's answer is not a list of runs. Check its version.")
    return answer


def read_run(run: JsonObject) -> Run:
    """Return a `Run` for AgentOS's run or preview. A preview has neither tool calls nor tokens."""
    messages = _objects_in(run, "messages")
    has_tools = "tools" in run or bool(messages)
    output = run["content"] if "content" in run else run.get("content_preview")
    tokens = object_in(run, "metrics").get("total_tokens")
    return Run(
        id=text_in(run, "run_id"),
        parent_run_id=text_in(run, "parent_run_id"),
        agent_id=next((text_in(run, f"{type}_id") for type in TYPES if text_in(run, f"{type}_id")), ""),
        status=text_in(run, "status").lower(),
        created_at=_started_at(run),
        input=_text_of(run.get("run_input", object_in(run, "input").get("input_content"))),
        output=_text_of(output),
        tool_calls=len(_objects_in(run, "tools")) if has_tools else None,
        total_tokens=tokens if isinstance(tokens, int) else None,
    )


def _started_at(run: JsonObject) -> datetime | None:
    # Agno before 2.6 stored the time when the server started as `created_at` of an agent's run.
    messages = _objects_in(run, "messages")
    return (read_time(messages[0].get("created_at")) if messages else None) or read_time(run.get("created_at"))


def _messages_with_inner(run: JsonObject, inner: Sequence[JsonObject]) -> list[Message]:
    """Return a run's messages, with those of its inner runs after the first message that calls a tool."""
    own = list(_messages(run))
    index = next((index for index, message in enumerate(own, 1) if message.tool_calls), 1)
    # The author is the agent or team of the inner run, not that of the session.
    inner_messages = [
        message.model_copy(update={"agent_id": read_run(step).agent_id})
        for step in inner
        for message in _messages(step)
    ]
    return [*own[:index], *inner_messages, *own[index:]]


def _messages(run: JsonObject) -> Iterator[Message]:
    run_id, started_at = text_in(run, "run_id"), _started_at(run)
    messages = [message for message in _objects_in(run, "messages") if not message.get("from_history")]
    if messages:
        for number, message in enumerate(messages, 1):
            yield _message(message, run_id, f"{run_id}:{number}")
        return
    shown = read_run(run)
    if shown.input:
        yield Message(id=f"{run_id}:in", role="user", text=shown.input, run_id=run_id, created_at=started_at)
    if shown.output and shown.status not in _WITHOUT_ANSWER:
        yield Message(id=f"{run_id}:out", role="assistant", text=shown.output, run_id=run_id, created_at=started_at)


def _steps(run: JsonObject) -> list[JsonObject]:
    return [step for step in _objects_in(run, "step_executor_runs") if text_in(step, "run_id")]


def _message(message: JsonObject, run_id: str, fallback_id: str) -> Message:
    return Message(
        id=text_in(message, "id") or fallback_id,
        role=_ROLES.get(text_in(message, "role"), "assistant"),
        text=_text_of(message.get("content")),
        created_at=read_time(message.get("created_at")),
        run_id=run_id,
        tool_calls=tuple(_tool_call(call) for call in _objects_in(message, "tool_calls")),
        tool_name=text_in(message, "tool_name"),
        attachments=tuple(
            _attachment(item, kind) for field, kind in _ATTACHMENTS.items() for item in _objects_in(message, field)
        ),
    )


def _tool_call(call: JsonObject) -> ToolCall:
    function = object_in(call, "function")
    arguments = function.get("arguments", "")
    return ToolCall(
        id=text_in(call, "id"),
        name=text_in(function, "name"),
        arguments=arguments
        if isinstance(arguments, str)
        else json.dumps(arguments, ensure_ascii=False, separators=(",", ":")),
    )


def _attachment(item: JsonObject, kind: str) -> Attachment:
    """Return an attachment without its data, which AgentOS returns as base64."""
    content = item.get("content")
    url = text_in(item, "url")
    return Attachment(
        type=kind,
        media_type=text_in(item, "mime_type") or text_in(item, "format"),
        url="" if url.strip().lower().startswith("data:") else url,
        bytes=len(content.rstrip("=")) * 3 // 4 if isinstance(content, str) and not url else None,
    )


def _text_of(content: Json) -> str:
    """Return the content as text: the texts of its parts, or the JSON of a structured answer."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if is_array(content) and any(is_object(part) and "text" in part for part in content):
        return "\n".join(text_in(part, "text") for part in content if is_object(part) and "text" in part)
    return _BASE64_DATA.sub(r"\1…", json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def _objects_in(value: JsonObject, key: str) -> list[JsonObject]:
    found = value.get(key)
    return [item for item in found if is_object(item)] if is_array(found) else []
