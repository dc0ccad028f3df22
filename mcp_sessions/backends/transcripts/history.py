"""Pages of messages that are read from the end of a transcript.

Only the part of the file that a page shows is read. A cursor is therefore a position in the file, which stays where it
is when something is appended.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from ... import cursors
from ...errors import NotFound, quoted
from ...models import HistoryQuery, Message, MessagePage
from ..paging import note_on_newer

Position = tuple[int, ...]
"""Where to continue reading after a message, as the numbers of a cursor."""

_PROMPT_DISTANCE = 200
"""How many messages before a page are read to find out to which run its oldest messages belong."""


class HistoryItem(NamedTuple):
    """A message of a transcript, and what it says about its run.

    `starts_run`: a run begins with this message. `tokens`: those of the answer that the message is.
    `status`: what the message says about how its run ended, "" if nothing.
    `origin`: the message that it is a copy of, as `SESSION/MESSAGE`, "" if it is none.
    """

    message: Message
    position: Position
    starts_run: bool = False
    tokens: int = 0
    status: str = ""
    origin: str = ""


@dataclass(slots=True)
class History:
    """The messages of a session, newest first. Reading them adds to `notes` what readers should know about them."""

    session_id: str
    items: Iterator[HistoryItem]
    notes: list[str] = field(default_factory=list[str])


def message_page(history: History, query: HistoryQuery, walk: str, *, limit: int, is_first: bool) -> MessagePage:
    """Return the page of messages that `history` begins with, or the one around the message in `query`.

    `walk` identifies the call in cursors. `is_first`: this is not the continuation of another page.
    Raise `NotFound` if the session lacks a message that `query` names.
    """
    focus = query.message_id or (query.around if is_first else "")
    items, newer = _from(history.items, focus, 0 if query.message_id else limit // 2) if focus else (history.items, [])
    rows: list[Message] = []
    is_more, skipped, with_run = False, 0, 0
    for item in items:
        is_shown = query.selects(item.message) or item.message.id == focus
        is_more = is_shown and len(rows) == limit
        if is_shown and not is_more:
            rows.append(_row(item, query, walk, skipped))
        skipped += not is_shown
        if item.starts_run:
            rows[with_run:] = _in_run(rows[with_run:], item.message.id)
            with_run = len(rows)
        if is_more or query.message_id:
            break
    rows[with_run:] = _in_run(rows[with_run:], _next_run(items)) if with_run < len(rows) else ()
    if query.message_id:
        return MessagePage(session_id=history.session_id, messages=tuple(rows))
    notes = [note_on_newer(len(newer), newer[-1])] if newer else []
    return MessagePage(
        session_id=history.session_id,
        messages=tuple(reversed(rows)),
        next_cursor=rows[-1].cursor if is_more else "",
        omitted_messages=rows[-1].skipped if is_more else skipped,
        note=" ".join([*notes, *dict.fromkeys(history.notes)]),
        focus=query.around,
    )


def _from(items: Iterator[HistoryItem], message_id: str, before: int) -> tuple[Iterator[HistoryItem], list[str]]:
    """Return the items from `before` places ahead of a message on, and the ids of the messages ahead of those."""
    window: deque[HistoryItem] = deque(maxlen=before + 1)
    newer: list[str] = []
    for item in items:
        if len(window) > before:
            newer.append(window[0].message.id)
        window.append(item)
        if item.message.id == message_id:
            return chain(window, items), newer
    raise NotFound(f"this session has no message {quoted(message_id)}. Call get_session_history for valid ids.")


def _row(item: HistoryItem, query: HistoryQuery, walk: str, skipped: int) -> Message:
    shows_calls = query.with_tools or bool(query.message_id)
    return item.message.model_copy(
        update={
            "cursor": cursors.mark(walk, *item.position),
            "skipped": skipped,
            "tool_calls": item.message.tool_calls if shows_calls else (),
        }
    )


def _in_run(rows: Sequence[Message], run_id: str) -> list[Message]:
    return [row.model_copy(update={"run_id": run_id}) for row in rows]


def _next_run(items: Iterator[HistoryItem]) -> str:
    """Return the id of the next run, or "" if it begins too far away."""
    return next((item.message.id for item in islice(items, _PROMPT_DISTANCE) if item.starts_run), "")
