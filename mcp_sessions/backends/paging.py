"""Pages of messages and runs out of a whole transcript, for backends whose system gives it in one piece.

A message's cursor counts from the oldest, so what is added while somebody walks to older ones moves nothing; and it
knows the message, so that it finds it where a system gives only the newest and others move out of sight.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

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

    `messages` are all of them, oldest first, each with its tool calls; `selects` says which a history shows.
    Raise `NotFound` for a message that is not among them, `Invalid` for a cursor that is not of this walk.
    """
    if query.message_id:
        return MessagePage(session_id=session_id, messages=(messages[_index(messages, query.message_id)],))
    walk = cursors.walk("history", session_id, sorted(query.roles), query.include_tools)
    newest = len(messages)
    focus = _index(messages, query.around) + 1 if query.around else 0
    if cursor:
        newest = _place(messages, *cursors.read(cursor, walk, 2))
    elif focus:
        newest = min(focus + limit // 2, newest)
    numbers = [number for number in range(newest, 0, -1) if number == focus or selects(messages[number - 1])]
    more = len(numbers) > limit
    page = [
        messages[number - 1].model_copy(
            update={
                "cursor": cursors.mark(walk, number - 1, _digest(messages[number - 1])),
                "skipped": newest - number - place,
                "tool_calls": messages[number - 1].tool_calls if query.with_tools else (),
            }
        )
        for place, number in enumerate(numbers[:limit])
    ]
    newer = len(messages) - newest if focus and not cursor else 0
    return MessagePage(
        session_id=session_id,
        messages=tuple(reversed(page)),
        next_cursor=page[-1].cursor if more else "",
        omitted_messages=page[-1].skipped if more else newest - len(page),
        note=f"{newer} newer messages come after these; around={quoted(messages[newest].id)} shows the next."
        if newer
        else "",
        focus=query.around,
    )


def run_page(session_id: str, runs: Sequence[Run], *, run_id: str, limit: int, cursor: str) -> RunPage:
    """`runs` are all, oldest first. Raises as `message_page` does."""
    walk = cursors.walk("runs", session_id)
    if run_id:
        found = next((run for run in runs if run.id == run_id), None)
        if found is None:
            raise NotFound(f"this session has no run {quoted(run_id)}. get_session_runs shows those there are.")
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


def _place(messages: Sequence[Message], index: int, digest: int) -> int:
    """Where the message of a cursor stands: where it stood, unless others before it are gone."""
    if index < len(messages) and _digest(messages[index]) == digest:
        return index
    found = next((place for place, message in enumerate(messages) if _digest(message) == digest), None)
    if found is None:
        raise Invalid('"cursor" stands at a message that is gone. Leave it out to start from the newest.')
    return found


def _digest(message: Message) -> int:
    return int.from_bytes(blake2b(message.id.encode(errors="backslashreplace"), digest_size=5).digest())


def _index(messages: Sequence[Message], message_id: str) -> int:
    for index, message in enumerate(messages):
        if message.id == message_id:
            return index
    raise NotFound(f"this session has no message {quoted(message_id)}. get_session_history shows those there are.")
