"""What the feeds of all backends with transcripts have in common."""

from collections.abc import Iterator

from ..transcript_feed import MessageAtPosition, Position
from .history import HistoryItem


def with_positions(items: Iterator[HistoryItem], start: Position) -> Iterator[MessageAtPosition]:
    """Yield messages with the positions at which they begin. `start` is the one of the first item."""
    for item in items:
        yield MessageAtPosition(item.message, start, item.origin)
        start = item.position
