"""Pages of messages and runs, for backends whose system returns a whole transcript at once.

A cursor contains a message's number, counted from the oldest, so that new messages don't shift it. It also contains
a digest of the message's id: if the system drops old messages, the numbers change and the digest still matches.
"""

from collections.abc import Callable, Sequence

from .. import cursors
from ..errors import Invalid, NotFound, quoted
from ..models import HistoryQuery, Message, MessagePage, Run, RunPage


def message_page(
    session_id: str,
    messages: Sequence[Message],
    selects: Callable[[Message], bool],
    query: HistoryQuery,
    *,
    limit: int,
    cursor: str,
) -> MessagePage:
    """Return a page of a session's history.

    `messages` is the whole transcript, oldest first, with tool calls. `selects` returns whether a message is shown.
    Raise `NotFound` if the session lacks a message that `query` names, `Invalid` if the cursor is of another call.
    """
    if query.message_id:
        return MessagePage(session_id=session_id, messages=(messages[_index(messages, query.message_id)],))
    walk = cursors.walk("history", session_id, sorted(query.roles), query.include_tools)
    newest = len(messages)
    focus = _index(messages, query.around) + 1 if query.around else 0
    if cursor:
        newest = _find_cursor(messages, *cursors.read(cursor, walk, 2))
    elif focus:
        newest = min(focus + limit // 2, newest)
    numbers = [number for number in range(newest, 0, -1) if number == focus or selects(messages[number - 1])]
    more = len(numbers) > limit
    page = [
        messages[number - 1].model_copy(
            update={
                "cursor": cursors.mark(walk, number - 1, _digest(messages[number - 1])),
                "skipped": newest - number - row,
                "tool_calls": messages[number - 1].tool_calls if query.with_tools else (),
            }
        )
        for row, number in enumerate(numbers[:limit])
    ]
    newer = len(messages) - newest if focus and not cursor else 0
    return MessagePage(
        session_id=session_id,
        messages=tuple(reversed(page)),
        next_cursor=page[-1].cursor if more else "",
        omitted_messages=page[-1].skipped if more else newest - len(page),
        note=note_on_newer(newer, messages[newest].id) if newer else "",
        focus=query.around,
    )


def note_on_newer(count: int, next_id: str) -> str:
    """Return a note that messages follow the newest one on a page. `next_id` is the first of them."""
    return f"Newer messages: {count}. Read the next with around={quoted(next_id)}."


def run_page(session_id: str, runs: Sequence[Run], *, run_id: str, limit: int, cursor: str) -> RunPage:
    """Return a page of a session's runs, newest first. `runs` contains all of them, oldest first.

    Raise `NotFound` if there is no run `run_id`, `Invalid` if the cursor is of another call.
    """
    walk = cursors.walk("runs", session_id)
    if run_id:
        found = next((run for run in runs if run.id == run_id), None)
        if found is None:
            raise NotFound(f"this session has no run {quoted(run_id)}. Call get_session_runs for valid ids.")
        return RunPage(session_id=session_id, runs=(found,))
    newest = len(runs)
    if cursor:
        (below,) = cursors.read(cursor, walk, 1)
        newest = max(min(below - 1, newest), 0)
    oldest = max(newest - limit, 0)
    page = [
        runs[number - 1].model_copy(update={"cursor": cursors.mark(walk, number)})
        for number in range(newest, oldest, -1)
    ]
    return RunPage(session_id=session_id, runs=tuple(page), next_cursor=page[-1].cursor if oldest and page else "")


def _find_cursor(messages: Sequence[Message], index: int, digest: int) -> int:
    """Return the index of a cursor's message: the one in the cursor, unless older messages were dropped."""
    if index < len(messages) and _digest(messages[index]) == digest:
        return index
    found = next((number for number, message in enumerate(messages) if _digest(message) == digest), None)
    if found is None:
        raise Invalid('"cursor" points to a message that no longer exists. Leave it out to start from the newest.')
    return found


def _digest(message: Message) -> int:
    return cursors.digest(message.id, 5)


def _index(messages: Sequence[Message], message_id: str) -> int:
    for index, message in enumerate(messages):
        if message.id == message_id:
            return index
    raise NotFound(f"this session has no message {quoted(message_id)}. Call get_session_history for valid ids.")
