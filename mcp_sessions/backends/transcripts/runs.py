"""Runs, made from the messages of a transcript, and merged with those of subagents in order of time.

A cursor has the position after the last run of the session itself, and the time and digest of the last run of any kind.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import dropwhile, islice
from typing import NamedTuple

from ... import cursors
from ...errors import NotFound, quoted
from ...models import Run, RunPage
from .history import History, HistoryItem, Position

Key = tuple[int, int]
"""The place of a run in order of time: microseconds since 1970, and a digest of its id."""


class RunEntry(NamedTuple):
    """A run, its place in order of time, and the position to continue reading after it."""

    run: Run
    key: Key
    position: Position


def run_page(
    history: History,
    agent_runs: Sequence[Run],
    walk: str,
    *,
    run_id: str,
    limit: int,
    start: Position,
    before: Key | None,
) -> RunPage:
    """Return a page of runs, newest first, of the messages that `history` begins with.

    `agent_runs` are all runs of subagents. `start` is the position of `history`, all 0 at the newest message, and
    `before` the key of the last run that was shown before this page.
    Raise `NotFound` if there is no run `run_id`.
    """
    if before is not None:
        agent_runs = [run for run in agent_runs if key_of(run) < before]
    runs = _merged(_own_runs(history.items), agent_runs, start)
    if run_id:
        found = next((placed.run for placed in runs if placed.run.id == run_id), None)
        if found is None:
            raise NotFound(f"this session has no run {quoted(run_id)}. Call get_session_runs for valid ids.")
        return RunPage(session_id=history.session_id, runs=(found,))
    if before is not None and not any(start):  # runs that began since then
        runs = dropwhile(lambda placed: placed.key >= before, runs)
    rows = [
        placed.run.model_copy(update={"cursor": cursors.mark(walk, *placed.position, *placed.key)})
        for placed in islice(runs, limit)
    ]
    is_more = len(rows) == limit and next(runs, None) is not None
    return RunPage(session_id=history.session_id, runs=tuple(rows), next_cursor=rows[-1].cursor if is_more else "")


def key_of(run: Run) -> Key:
    """Return the place of a run in order of time."""
    return microseconds(run.created_at), cursors.digest(run.id, 5)


def microseconds(time: datetime | None) -> int:
    """Return the microseconds since 1970, 0 for no time and for earlier ones."""
    return max(round(time.timestamp() * 1_000_000), 0) if time else 0


def _merged(own: Iterator[RunEntry], agent_runs: Sequence[Run], start: Position) -> Iterator[RunEntry]:
    """Yield all runs, newest first. A subagent's run is part of the run during which it began."""
    waiting = sorted(agent_runs, key=key_of)
    for placed in own:
        # The order of the transcript decides, so that a clock that was set back hides no run.
        while waiting and microseconds(waiting[-1].created_at) >= placed.key[0]:
            yield _agent_run(waiting.pop(), placed.run.id, start)
        yield placed
        start = placed.position
    while waiting:
        yield _agent_run(waiting.pop(), "", start)


def _agent_run(run: Run, parent: str, position: Position) -> RunEntry:
    return RunEntry(run.model_copy(update={"parent_run_id": parent}), key_of(run), position)


def _own_runs(items: Iterator[HistoryItem]) -> Iterator[RunEntry]:
    """Yield the runs of the session itself, newest first. Messages before the first prompt are part of none."""
    output, status, calls, tokens = "", "", 0, 0
    for item in items:
        message = item.message
        calls += len(message.tool_calls)
        tokens += item.tokens
        status = status or item.status
        if message.role == "assistant":
            output = output or message.text
        if item.starts_run:
            run = Run(
                id=message.id,
                status=status or ("completed" if output else ""),
                created_at=message.created_at,
                input=message.text,
                output=output,
                tool_calls=calls,
                total_tokens=tokens or None,
            )
            yield RunEntry(run, key_of(run), item.position)
            output, status, calls, tokens = "", "", 0, 0
