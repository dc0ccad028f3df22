"""Search: words into places where all of them stand, newest first, under a deadline."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import thread_time

from ... import cursor as cursors
from ...models import SearchHit, SearchPage
from .._words import snippet
from .database import OutOfTime, SearchIndex, Transaction
from .sessions import DELETED, moment

BUDGET = 0.05  # seconds of the processor, so that a busy machine finds as much; no ordinary search takes as long
_FIRST_STRETCH = 4096  # keys looked through at once; each further stretch is eight times as long

_KINDS = ("name", "message")
_HITS = {
    "name": "SELECT s.key, s.id, s.name, 0, '', s.created_at, s.name FROM sessions s WHERE s.key IN ({keys})",
    "message": (
        "SELECT m.key, s.id, s.name, m.number, m.role, m.created_at, m.text"
        " FROM messages m JOIN sessions s ON s.key = m.session_key WHERE m.key IN ({keys})"
    ),
}


@dataclass(frozen=True)
class Query:
    """What is searched for, by whom, and what they may see of a stored text."""

    words: Sequence[str]
    owner: str
    present: Callable[[str], str]


def search(tx: Transaction, index: SearchIndex, query: Query, limit: int, cursor: str) -> SearchPage:
    """Names first, then messages, each newest first.

    The keys are walked in stretches, so that a search which runs out of time knows how far it came.
    """
    walk = cursors.walk("search", query.owner, query.words)
    first, below = cursors.read(cursor, walk, 2) if cursor else (0, 0)
    came_to = (first, below)
    deadline = thread_time() + BUDGET
    hits: list[SearchHit] = []
    complete = False
    try:
        for place, hit in _places(tx, index, query, walk, first, below, limit + 1):
            came_to = place
            hits += [hit] if hit else []
            if len(hits) > limit:
                break
            if thread_time() > deadline:
                raise OutOfTime
        else:
            complete = True
    except OutOfTime:
        pass
    more = len(hits) > limit
    hits = hits[:limit]
    return SearchPage(
        hits=tuple(hits),
        next_cursor=hits[-1].cursor if more else "" if complete else _resume(walk, came_to, cursor),
        complete=complete or more,
        note="" if complete or more else _stopped(walk, came_to, cursor),
    )


def _places(
    tx: Transaction, index: SearchIndex, query: Query, walk: str, first: int, below: int, at_once: int
) -> Iterator[tuple[tuple[int, int], SearchHit | None]]:
    """How far the search came, each time it came farther, with what it found there."""
    for kind in range(first, len(_KINDS)):
        below = below or _newest(tx, _KINDS[kind]) + 1
        stretch = _FIRST_STRETCH
        while below > 1:
            above = max(below - 1 - stretch, 0)
            keys = index.find(tx, _KINDS[kind], query.words, query.owner, below=below, above=above, limit=at_once)
            for key, hit in _hits(tx, index, kind, keys, query, walk):
                yield (kind, key), hit
            below = keys[-1] if len(keys) == at_once else above + 1
            yield (kind, below), None
            stretch *= 8
        below = 0


def _resume(walk: str, came_to: tuple[int, int], cursor: str) -> str:
    """Where the next call goes on; nowhere if this one could not even look through its first stretch."""
    mark = cursors.mark(walk, *came_to)
    return "" if came_to[1] == 0 or mark == cursor else mark


def _stopped(walk: str, came_to: tuple[int, int], cursor: str) -> str:
    if _resume(walk, came_to, cursor):
        return "The search took too long and stopped here; next_cursor goes on with what is older."
    return "These words are too common to be found in time. Give a rarer word, or a longer prefix."


def _newest(tx: Transaction, kind: str) -> int:
    row = tx.one(f"SELECT max(key) FROM {'sessions' if kind == 'name' else 'messages'}")
    return (row[0] if row else None) or 0


def _hits(
    tx: Transaction, index: SearchIndex, kind: int, keys: Sequence[int], query: Query, walk: str
) -> Iterator[tuple[int, SearchHit | None]]:
    """What the keys stand for; None for what the caller can't see, and nothing for what is deleted."""
    if not keys:
        return
    rows = tx.all(
        _HITS[_KINDS[kind]].format(keys=", ".join("?" * len(keys)))
        + f" AND s.place <> {DELETED}{' AND s.user_id = ?' if query.owner else ''}",
        *keys,
        *([query.owner] if query.owner else []),
    )
    for key, session_id, name, number, role, created_at, text in sorted(rows, reverse=True):
        seen = query.present(text)
        if seen != text and not index.finds(seen, query.words):
            yield key, None
            continue
        yield (
            key,
            SearchHit(
                session_id=session_id,
                session_name=name,
                message_id=f"m{number}" if number else "",
                role=role,
                snippet=snippet(seen, query.words) if number else "",
                created_at=moment(created_at),
                cursor=cursors.mark(walk, kind, key),
            ),
        )
