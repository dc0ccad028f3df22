"""Merges the pages of several backends into one list, in order and with one cursor.

Each member has a position in its own list: "" at the beginning, one of its own cursors, or `END`. A merged cursor
contains the positions of all members, so that each list continues after the last row that was returned.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

from .... import cursors
from ....errors import BadResponse, Invalid
from ....models import PageItem

R = TypeVar("R", bound=PageItem)

END = None
Position = str | None
_END_MARK, _SEPARATOR = "*", "!"  # `quote` produces neither


class MergedCursors:
    """Writes and reads the merged cursors of one list. They are valid only for calls with the same arguments."""

    def __init__(self, *arguments: object) -> None:
        self._walk = cursors.walk(*arguments)

    def write(self, encoded: Sequence[str]) -> str:
        """Return the cursor for all members' positions, each encoded by `encode_position`."""
        text = _SEPARATOR.join(encoded)
        return f"{cursors.walk(self._walk, text)}{_SEPARATOR}{text}"

    def read(self, cursor: str, count: int) -> list[Position]:
        """Return the `count` positions in a cursor; "" is the beginning. Raise `Invalid` for an unknown cursor."""
        if not cursor:
            return [""] * count
        encoded = cursor.split(_SEPARATOR)[1:]
        if len(encoded) != count or self.write(encoded) != cursor:
            raise Invalid(
                '"cursor" is not one that this tool returned for these arguments and backends. '
                "Leave it out to start from the beginning."
            )
        return [END if text == _END_MARK else unquote(text) for text in encoded]


def encode_position(position: Position) -> str:
    """Return a position as a merged cursor contains it."""
    return _END_MARK if position is None else quote(position, safe="")


@dataclass(frozen=True)
class MemberPage(Generic[R]):
    """A page of one member: its rows, and the member's own cursor after them, "" at the end of its list."""

    rows: Sequence[R]
    next_cursor: str

    @property
    def next_position(self) -> Position:
        return self.next_cursor or END


@dataclass(frozen=True)
class MergedPage(Generic[R]):
    """Rows in order, each with its member's index and the merged cursor that continues after the row."""

    rows: Sequence[tuple[int, R, str]]
    next_cursor: str


def merge(
    pages: Mapping[int, MemberPage[R]],
    positions: Sequence[Position],
    limit: int,
    *,
    order: Callable[[R], Any],
    cursors: MergedCursors,
) -> MergedPage[R]:
    """Return the first `limit` rows of the members' pages, in order.

    `pages`: by the member's index in `positions`. A member without a page keeps its position; if all other members are
    at their end, there is no next page. The merged page ends early after the last row of a member's page if its list
    goes on, since that member's next row is unknown.
    """
    reached = [
        pages[number].next_position if _is_empty(pages, number) else each for number, each in enumerate(positions)
    ]
    encoded = [encode_position(position) for position in reached]
    waiting = {number: deque(page.rows) for number, page in pages.items() if page.rows}
    keys = {number: (order(page.rows[0]), number) for number, page in pages.items() if page.rows}
    rows: list[tuple[int, R, str]] = []
    while waiting and len(rows) < limit:
        number = min(keys, key=keys.__getitem__)
        row = waiting[number].popleft()
        if waiting[number]:
            reached[number] = _cursor_after(row)
            keys[number] = order(waiting[number][0]), number
        else:
            reached[number] = pages[number].next_position
            del waiting[number], keys[number]
        encoded[number] = encode_position(reached[number])
        rows.append((number, row, cursors.write(encoded)))
        if number not in waiting and pages[number].next_cursor:
            break
    more = any(reached[number] is not END for number in pages)
    return MergedPage(rows, cursors.write(encoded) if more else "")


def _is_empty(pages: Mapping[int, MemberPage[R]], number: int) -> bool:
    return number in pages and not pages[number].rows


def _cursor_after(row: PageItem) -> str:
    if not row.cursor:
        raise BadResponse("a backend returned rows without cursors, so its list can't be merged with others.")
    return row.cursor
