"""Search: words into places where all of them stand, newest first, under a deadline."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import Protocol

from ... import cursors
from ...models import SearchHit, SearchPage
from ...text.words import snippet
from .database import OutOfTime, SearchIndex, Transaction

BUDGET = 0.05  # seconds of the processor, so that a busy machine finds as much; no ordinary search takes as long


class Places(Protocol):
    """The rows that a search index points to: where the words of a query stand."""

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of rows, in the order in which they are searched."""
        ...

    @property
    def first_stretch(self) -> int:
        """How many keys are looked through at once, at first; each further stretch is eight times as long."""
        ...

    def newest(self, tx: Transaction, kind: str) -> int:
        """Return the largest key of a kind, 0 if there is none."""
        ...

    def hits(self, tx: Transaction, kind: str, keys: Sequence[int], owner: str) -> Iterable[tuple[int, SearchHit, str]]:
        """Yield key, hit and whole text of each row that the owner may see, newest first.

        The hit has no snippet and no cursor yet. A row of a deleted session is left out.
        """
        ...


@dataclass(frozen=True)
class Query:
    """What is searched for, by whom, and what they may see of a stored text."""

    words: Sequence[str]
    owner: str
    present: Callable[[str], str]


def search(tx: Transaction, index: SearchIndex, places: Places, query: Query, limit: int, cursor: str) -> SearchPage:
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
        for place, hit in _stretches(tx, index, places, query, walk, first, below, limit + 1):
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


def _stretches(
    tx: Transaction,
    index: SearchIndex,
    places: Places,
    query: Query,
    walk: str,
    first: int,
    below: int,
    at_once: int,
) -> Iterator[tuple[tuple[int, int], SearchHit | None]]:
    """Yield how far the search came, each time it came farther, with what it found there."""
    for number in range(first, len(places.kinds)):
        kind = places.kinds[number]
        below = below or places.newest(tx, kind) + 1
        stretch = places.first_stretch
        while below > 1:
            above = max(below - 1 - stretch, 0)
            keys = index.find(tx, kind, query.words, query.owner, below=below, above=above, limit=at_once)
            for key, hit, text in places.hits(tx, kind, keys, query.owner) if keys else ():
                mark = cursors.mark(walk, number, key)
                yield (number, key), _as_seen(hit, text, mark, index, query)
            below = keys[-1] if len(keys) == at_once else above + 1
            yield (number, below), None
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


def _as_seen(hit: SearchHit, text: str, cursor: str, index: SearchIndex, query: Query) -> SearchHit | None:
    """Return the hit with its snippet and cursor, None if the words are not in what the caller may see of the text."""
    seen = query.present(text)
    if seen != text and not index.finds(seen, query.words):
        return None
    shown = snippet(seen, query.words) if hit.message_id else ""
    return hit.model_copy(update={"snippet": shown, "cursor": cursor})
