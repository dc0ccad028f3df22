"""Full-text search in the embedded store: names and messages with every word, newest first, within a time limit."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import Protocol

from ... import cursors
from ...models import SearchHit, SearchPage
from ...text.search_query import SearchQuery
from .database import DeadlineExceeded, SearchIndex, Transaction

BUDGET = 0.05
"""Seconds of processor time, so that the result does not depend on the machine's load. Most searches take less."""

_CANDIDATES = 64  # rows read at once when the texts decide whether rows match


class SearchRows(Protocol):
    """The rows that a search index points to, and the hits made from them."""

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of rows, in the order in which they are searched."""
        ...

    @property
    def first_range(self) -> int:
        """The number of keys in the first range. Each further range is eight times as long."""
        ...

    def newest(self, tx: Transaction, kind: str) -> int:
        """Return the largest key of a kind, or 0 if there is none."""
        ...

    def hits(self, tx: Transaction, kind: str, keys: Sequence[int], owner: str) -> Iterable[tuple[int, SearchHit, str]]:
        """Yield the key, hit and whole text of each row that the owner may see, newest first.

        The hit has no snippet and no cursor yet. Rows of deleted sessions are left out.
        """
        ...


@dataclass(frozen=True)
class CallerSearch:
    """A search: what is searched, the owner of the rows, and a function that returns text as the caller may see it."""

    text: SearchQuery
    owner: str
    sanitize: Callable[[str], str]


def search(
    tx: Transaction, index: SearchIndex, rows: SearchRows, query: CallerSearch, limit: int, cursor: str
) -> SearchPage:
    """Return a page of hits: names first, then messages, each newest first.

    Keys are searched in ranges, so that a search that runs out of time can continue after the last range.
    """
    walk = cursors.walk("search", query.owner, query.text.key)
    first_kind, below = cursors.read(cursor, walk, 2) if cursor else (0, 0)
    last = (first_kind, below)
    deadline = thread_time() + BUDGET
    hits: list[SearchHit] = []
    complete = False
    try:
        for position, hit in _search_ranges(tx, index, rows, query, walk, first_kind, below, limit + 1):
            last = position
            hits += [hit] if hit else []
            if len(hits) > limit:
                break
            if thread_time() > deadline:
                raise DeadlineExceeded
        else:
            complete = True
    except DeadlineExceeded:
        pass
    has_more = len(hits) > limit
    hits = hits[:limit]
    if complete or has_more:
        return SearchPage(hits=tuple(hits), next_cursor=hits[-1].cursor if has_more else "", complete=True)
    next_cursor = cursors.mark(walk, *last)
    if last[1] == 0 or next_cursor == cursor:  # not even the first range could be searched
        note = "These words are too common to be found in time. Give a rarer word, or a longer prefix."
        return SearchPage(hits=tuple(hits), complete=False, note=note)
    note = "The search took too long and stopped here. Continue with next_cursor."
    return SearchPage(hits=tuple(hits), next_cursor=next_cursor, complete=False, note=note)


def _search_ranges(
    tx: Transaction,
    index: SearchIndex,
    rows: SearchRows,
    query: CallerSearch,
    walk: str,
    first_kind: int,
    below: int,
    limit: int,
) -> Iterator[tuple[tuple[int, int], SearchHit | None]]:
    """Yield the position (kind, key) after each row and each range, with the hit if the row is one."""
    if query.text.needs_text:
        limit = max(limit, _CANDIDATES)  # since not every candidate is a hit
    for number in range(first_kind, len(rows.kinds)):
        kind = rows.kinds[number]
        below = below or rows.newest(tx, kind) + 1
        range_size = rows.first_range
        while below > 1:
            above = max(below - 1 - range_size, 0)
            keys = index.find(tx, kind, query.text.words, query.owner, below=below, above=above, limit=limit)
            for key, hit, text in rows.hits(tx, kind, keys, query.owner) if keys else ():
                yield (number, key), _finish_hit(hit, text, cursors.mark(walk, number, key), query)
            below = keys[-1] if len(keys) == limit else above + 1
            yield (number, below), None
            range_size *= 8
        below = 0


def _finish_hit(hit: SearchHit, text: str, cursor: str, query: CallerSearch) -> SearchHit | None:
    """Return the hit with snippet and cursor, or None if the text that the caller may see doesn't match."""
    visible_text = query.sanitize(text)
    if not (query.text.contains_symbols(visible_text) if visible_text == text else query.text.matches(visible_text)):
        return None
    return hit.model_copy(
        update={"snippet": query.text.snippet(visible_text) if hit.message_id else "", "cursor": cursor}
    )
