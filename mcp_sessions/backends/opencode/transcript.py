"""Functions that convert opencode's messages, which consist of parts, to our messages and runs."""

from collections.abc import Iterator, Sequence

from ...json_documents import JsonObject, object_in, text_in
from ...models import Attachment, Message, Run, ToolCall
from .wire import as_datetime, json_text, milliseconds, objects_in, total_tokens

_TEXT_PART, _TOOL_PART, _FILE_PART = "text", "tool", "file"


def read_messages(rows: Sequence[JsonObject]) -> list[Message]:
    """Return the messages of a session, oldest first.

    opencode has no tool messages: a part of an assistant's message is both a tool's call and its result. Each part
    that has a result also becomes a message of its own, with the id of the part.
    """
    return [message for row, run_id in _rows_of_runs(rows) for message in _messages_of(row, run_id)]


def read_runs(rows: Sequence[JsonObject]) -> list[Run]:
    """Return the runs of a session, oldest first. A run is a user's message and the messages that answer it."""
    grouped: dict[str, list[JsonObject]] = {}
    for row, run_id in _rows_of_runs(rows):
        grouped.setdefault(run_id, []).append(row)
    return [_run(run_id, members) for run_id, members in grouped.items()]


def message_id_of(rows: Sequence[JsonObject], id: str) -> str:
    """Return the id of the message that has this id or contains a part with this id; "" if there is none."""
    return next(
        (_id_of(row) for row in rows if id in (_id_of(row), *(text_in(part, "id") for part in _parts(row)))), ""
    )


def successor_of(rows: Sequence[JsonObject], message_id: str) -> str:
    """Return the id of the message after this one; "" for the last."""
    ids = [_id_of(row) for row in rows]
    return (ids[ids.index(message_id) + 1 :] or [""])[0]


def _rows_of_runs(rows: Sequence[JsonObject]) -> Iterator[tuple[JsonObject, str]]:
    """Yield each message that has an id and a known role, with the id of its run."""
    latest = ""
    for row in rows:
        info = object_in(row, "info")
        id, role = text_in(info, "id"), text_in(info, "role")
        if not id or role not in ("user", "assistant"):
            continue
        latest = id if role == "user" else text_in(info, "parentID") or latest
        yield row, latest


def _messages_of(row: JsonObject, run_id: str) -> Iterator[Message]:
    info, parts = object_in(row, "info"), _parts(row)
    tools = [part for part in parts if part.get("type") == _TOOL_PART]
    yield Message(
        id=text_in(info, "id"),
        role="user" if text_in(info, "role") == "user" else "assistant",
        text=_text_of(parts),
        created_at=as_datetime(milliseconds(object_in(info, "time").get("created"))),
        run_id=run_id,
        tool_calls=tuple(_tool_call(part) for part in tools),
        attachments=tuple(_attachment(part) for part in parts if part.get("type") == _FILE_PART),
    )
    for part in tools:
        state = object_in(part, "state")
        if text_in(state, "status") in ("completed", "error"):
            yield Message(
                id=text_in(part, "id"),
                role="tool",
                text=text_in(state, "output") or text_in(state, "error"),
                created_at=as_datetime(milliseconds(object_in(state, "time").get("end"))),
                run_id=run_id,
                tool_name=text_in(part, "tool"),
            )


def _parts(row: JsonObject) -> list[JsonObject]:
    return objects_in(row, "parts")


def _id_of(row: JsonObject) -> str:
    return text_in(object_in(row, "info"), "id")


def _text_of(parts: Sequence[JsonObject]) -> str:
    """Return what was said, without the texts that opencode adds for the model (`synthetic`)."""
    said = (part for part in parts if part.get("type") == _TEXT_PART and part.get("synthetic") is not True)
    return "\n".join(text for part in said if (text := text_in(part, "text")))


def _tool_call(part: JsonObject) -> ToolCall:
    arguments = object_in(part, "state").get("input")
    return ToolCall(
        id=text_in(part, "callID"),
        name=text_in(part, "tool"),
        arguments="" if arguments is None else json_text(arguments),
    )


def _attachment(part: JsonObject) -> Attachment:
    """Return an attachment without its data, which may stand in its URL."""
    media_type, url = text_in(part, "mime"), text_in(part, "url")
    is_data = url.lstrip().lower().startswith("data:")
    return Attachment(
        type="image" if media_type.startswith("image/") else "file",
        media_type=media_type,
        url="" if is_data else url,
        bytes=len(url.partition(",")[2].rstrip("=")) * 3 // 4 if is_data else None,
    )


def _run(run_id: str, rows: Sequence[JsonObject]) -> Run:
    messages = [message for row in rows for message in _messages_of(row, run_id)]
    answers = [object_in(row, "info") for row in rows if text_in(object_in(row, "info"), "role") == "assistant"]
    texts = [message.text for message in messages if message.role == "assistant" and message.text]
    tokens = [count for answer in answers if (count := total_tokens(answer.get("tokens"))) is not None]
    return Run(
        id=run_id,
        agent_id=text_in((answers or [object_in(rows[0], "info")])[-1], "agent"),
        status=_status(answers[-1]) if answers else "",
        created_at=messages[0].created_at,
        input=next((message.text for message in messages if message.role == "user"), ""),
        output=texts[-1] if texts else "",
        tool_calls=sum(len(message.tool_calls) for message in messages),
        total_tokens=sum(tokens) if tokens else None,
    )


def _status(answer: JsonObject) -> str:
    """Return the status of a run by its last answer. Without an end, it may be running, or its server was stopped."""
    if answer.get("error"):
        return "error"
    return "completed" if object_in(answer, "time").get("completed") else "unfinished"
