"""Statements on the messages of a session: history, runs, append and copy.

The messages of a session are numbered 1, 2, 3 … without gaps, since single messages are never removed. `m12` is the
id of the twelfth. Each append is one run; `r3` is the id of the third.
"""

from collections.abc import Sequence
from itertools import groupby

from pydantic import TypeAdapter

from ... import cursors
from ...errors import Invalid, NotFound, quoted
from ...models import Attachment, HistoryQuery, Message, MessagePage, NewMessage, Run, RunPage, ToolCall
from ...text.validate import check_text
from ..database.database import Row, SearchIndex, Transaction
from ..database.times import now_micros, to_datetime
from ..paging import note_on_newer
from ..validation import NAME_LENGTH, TEXT_LENGTH
from .sessions import SessionRow, update

_COLUMNS = "number, run, role, created_at, tool_name, tool_calls, attachments, text"
_TOOL_CALLS = TypeAdapter(tuple[ToolCall, ...])
_ATTACHMENTS = TypeAdapter(tuple[Attachment, ...])


def _parse_id(value: str, letter: str, last: int, kind: str) -> int:
    """Return the number in an id such as `m12`. Raise `NotFound` unless the session has it."""
    digits = value.removeprefix(letter)
    if (
        value.startswith(letter)
        and digits.isascii()
        and digits.isdigit()
        and len(digits) < 10
        and 0 < int(digits) <= last
    ):
        return int(digits)
    tool = {"message": "get_session_history", "run": "get_session_runs"}[kind]
    raise NotFound(f"this session has no {kind} {quoted(value)}. Call {tool} for valid ids.")


def _message(row: Row, *, with_tools: bool, cursor: str = "", skipped: int = 0) -> Message:
    number, run, role, created_at, tool_name, tool_calls, attachments, text = row
    return Message(
        id=f"m{number}",
        role=role,
        text=text,
        created_at=to_datetime(created_at),
        run_id=f"r{run}",
        tool_calls=_TOOL_CALLS.validate_json(tool_calls) if with_tools and tool_calls else (),
        tool_name=tool_name,
        attachments=_ATTACHMENTS.validate_json(attachments) if attachments else (),
        cursor=cursor,
        skipped=skipped,
    )


def one_message(tx: Transaction, session: SessionRow, message_id: str) -> MessagePage:
    number = _parse_id(message_id, "m", session.message_count, "message")
    row = tx.one(f"SELECT {_COLUMNS} FROM messages WHERE session_key = ? AND number = ?", session.key, number)
    return MessagePage(session_id=session.id, messages=(_message(row or (), with_tools=True),))


def history(tx: Transaction, session: SessionRow, query: HistoryQuery, *, limit: int, cursor: str) -> MessagePage:
    """Return a page of the session's messages."""
    walk = cursors.walk("history", session.id, sorted(query.roles), query.include_tools)
    newest = session.message_count
    focus = _parse_id(query.around, "m", newest, "message") if query.around else 0
    if cursor:
        (below,) = cursors.read(cursor, walk, 1)
        newest = max(min(below - 1, newest), 0)
    elif focus:
        newest = min(focus + limit // 2, newest)
    condition, values = _selection(query, focus)
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM messages WHERE session_key = ? AND number <= ?{condition}"
        " ORDER BY number DESC LIMIT ?",
        session.key,
        newest,
        *values,
        limit + 1,
    )
    more = len(rows) > limit
    messages = [
        _message(
            row, with_tools=query.with_tools, cursor=cursors.mark(walk, row[0]), skipped=newest - row[0] - position
        )
        for position, row in enumerate(rows[:limit])
    ]
    newer = session.message_count - newest if focus and not cursor else 0
    return MessagePage(
        session_id=session.id,
        messages=tuple(reversed(messages)),
        next_cursor=messages[-1].cursor if more else "",
        omitted_messages=messages[-1].skipped if more else newest - len(messages),
        note=note_on_newer(newer, f"m{newest + 1}") if newer else "",
        focus=f"m{focus}" if focus else "",
    )


def _selection(query: HistoryQuery, focus: int) -> tuple[str, list[object]]:
    """Return SQL that selects the messages of a history, and its parameters. It always selects the focus."""
    conditions: list[str] = []
    values: list[object] = []
    if query.roles:
        conditions.append(f"role IN ({', '.join('?' * len(query.roles))})")
        values += query.roles
    if not query.with_tools:
        conditions.append("role <> 'tool' AND (text <> '' OR attachments <> '')")
    if not conditions:
        return "", []
    return f" AND (number = ? OR {' AND '.join(conditions)})", [focus, *values]


def runs(tx: Transaction, session: SessionRow, *, run_id: str, limit: int, cursor: str) -> RunPage:
    """Return a page of runs, newest first.

    A run's input is its first user message, its output the last text by an assistant.
    """
    walk = cursors.walk("runs", session.id)
    if run_id:
        newest = _parse_id(run_id, "r", session.run_count, "run")
        limit = 1
    elif cursor:
        (below,) = cursors.read(cursor, walk, 1)
        newest = max(min(below - 1, session.run_count), 0)
    else:
        newest = session.run_count
    oldest = max(newest - limit, 0)
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM messages WHERE session_key = ? AND run > ? AND run <= ? ORDER BY number",
        session.key,
        oldest,
        newest,
    )
    found = [
        _run(session, number, [_message(row, with_tools=True) for row in group], cursors.mark(walk, number))
        for number, group in groupby(rows, key=lambda row: row[1])
    ]
    found.reverse()
    return RunPage(
        session_id=session.id,
        runs=tuple(found),
        next_cursor=found[-1].cursor if oldest and found and not run_id else "",
    )


def _run(session: SessionRow, number: int, messages: Sequence[Message], cursor: str) -> Run:
    return Run(
        id=f"r{number}",
        agent_id=session.agent_id,
        status="completed",
        created_at=messages[0].created_at,
        input=next((message.text for message in messages if message.role == "user"), ""),
        output=next(
            (message.text for message in reversed(messages) if message.role == "assistant" and message.text), ""
        ),
        tool_calls=sum(len(message.tool_calls) for message in messages),
        cursor=cursor,
    )


def append(
    tx: Transaction, index: SearchIndex, session: SessionRow, messages: Sequence[NewMessage]
) -> tuple[int, list[str]]:
    """Append messages as one run. Return the session's new version and the messages' ids."""
    if not messages:
        raise Invalid('"messages" is empty. Give at least one.')
    created = now_micros()
    texts: list[tuple[int, str]] = []
    for number, message in enumerate(messages, session.message_count + 1):
        _check(message)
        key = tx.insert(
            f"INSERT INTO messages (session_key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            session.key,
            number,
            session.run_count + 1,
            message.role,
            created,
            message.tool_name,
            _TOOL_CALLS.dump_json(message.tool_calls).decode() if message.tool_calls else "",
            _ATTACHMENTS.dump_json(message.attachments).decode() if message.attachments else "",
            message.text,
        )
        texts.append((key, message.text))
    index.put_messages(tx, session.user_id, texts)
    count = session.message_count + len(messages)
    version = update(tx, session, message_count=count, run_count=session.run_count + 1)
    return version, [f"m{number}" for number in range(session.message_count + 1, count + 1)]


def _check(message: NewMessage) -> None:
    """Raise `Invalid` if any text in the message can't be stored."""
    check_text(message.text, "text", TEXT_LENGTH)
    check_text(message.tool_name, "tool_name", NAME_LENGTH)
    for call in message.tool_calls:
        for text in (call.id, call.name, call.arguments):
            check_text(text, "tool_calls", TEXT_LENGTH)
    for attachment in message.attachments:
        for text in (attachment.type, attachment.media_type, attachment.url):
            check_text(text, "attachments", TEXT_LENGTH)


def copy(tx: Transaction, index: SearchIndex, source: SessionRow, target: SessionRow, up_to_message_id: str) -> None:
    """Copy the source's messages to the target, with the same ids. `up_to_message_id` is the last, "" means all."""
    count = source.message_count
    if up_to_message_id:
        count = _parse_id(up_to_message_id, "m", count, "message")
    tx.run(
        f"INSERT INTO messages (session_key, {_COLUMNS})"
        f" SELECT ?, {_COLUMNS} FROM messages WHERE session_key = ? AND number <= ? ORDER BY number",
        target.key,
        source.key,
        count,
    )
    rows = tx.all("SELECT key, text, run FROM messages WHERE session_key = ? ORDER BY number", target.key)
    index.put_messages(tx, target.user_id, [(key, text) for key, text, _ in rows])
    tx.run(
        "UPDATE sessions SET message_count = ?, run_count = ? WHERE key = ?",
        len(rows),
        rows[-1][2] if rows else 0,
        target.key,
    )
