"""Merges the pages of several backends into one list, in order and with one cursor.

Each member of the merge has a position: "" at the beginning, a cursor of the member's own, or `END`. A merged cursor
contains all positions, so that each list continues where its last row was used.
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
    """The cursors of one walk. They are valid only for a call with the same arguments."""

    def __init__(self, *arguments: object) -> None:
        self._walk = cursors.walk(*arguments)

    def write(self, parts: Sequence[str]) -> str:
        """Return the cursor for positions, each as `encode_position` returns it."""
        text = _SEPARATOR.join(parts)
        return f"{cursors.walk(self._walk, text)}{_SEPARATOR}{text}"

    def read(self, cursor: str, count: int) -> list[Position]:
        """Return the positions in a cursor, or those of the beginning for "". Raise `Invalid` for another cursor."""
        if not cursor:
            return [""] * count
        parts = cursor.split(_SEPARATOR)[1:]
        if len(parts) != count or self.write(parts) != cursor:
            raise Invalid(
                '"cursor" is not one that this tool returned for these arguments and backends. '
                "Leave it out to start from the beginning."
            )
        return [END if part == _END_MARK else unquote(part) for part in parts]


def encode_position(position: Position) -> str:
    """Return the text of a position in a merged cursor."""
    return _END_MARK if position is None else quote(position, safe="")


@dataclass(frozen=True)
class MemberPage(Generic[R]):
    """The page of one member: its rows, and the member's cursor behind them, "" at the end."""

    rows: Sequence[R]
    next_cursor: str

    @property
    def end(self) -> Position:
        return self.next_cursor or END


@dataclass(frozen=True)
class MergedPage(Generic[R]):
    """Rows in order, each with its member's number and the merged cursor that continues after it."""

    rows: Sequence[tuple[int, R, str]]
    next_cursor: str


def merge(
    parts: Mapping[int, MemberPage[R]],
    positions: Sequence[Position],
    limit: int,
    *,
    order: Callable[[R], Any],
    cursors: MergedCursors,
) -> MergedPage[R]:
    """Return the first `limit` rows of the members' pages.

    `parts`: by the member's number, which is also that of its position. A member without a part keeps its position and
    is left out; if all others are at their end, there is no next page. The merged page ends early where a member's page
    ends without its list being at the end, since that member's next row is unknown.
    """
    reached = [parts[number].end if _is_empty(parts, number) else each for number, each in enumerate(positions)]
    texts = [encode_position(position) for position in reached]
    waiting = {number: deque(part.rows) for number, part in parts.items() if part.rows}
    keys = {number: (order(part.rows[0]), number) for number, part in parts.items() if part.rows}
    rows: list[tuple[int, R, str]] = []
    while waiting and len(rows) < limit:
        number = min(keys, key=keys.__getitem__)
        row = waiting[number].popleft()
        if waiting[number]:
            reached[number] = _cursor_after(row)
            keys[number] = order(waiting[number][0]), number
        else:
            reached[number] = parts[number].end
            del waiting[number], keys[number]
        texts[number] = encode_position(reached[number])
        rows.append((number, row, cursors.write(texts)))
        if number not in waiting and parts[number].next_cursor:
            break
    more = any(reached[number] is not END for number in parts)
    return MergedPage(rows, cursors.write(texts) if more else "")


def _is_empty(parts: Mapping[int, MemberPage[R]], number: int) -> bool:
    return number in parts and not parts[number].rows


def _cursor_after(row: PageItem) -> str:
    if not row.cursor:
        raise BadResponse("a backend returned rows without cursors, so its list can't be merged with others.")
    return row.cursor
