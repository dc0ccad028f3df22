"""What the feeds of all backends with transcripts have in common."""

from collections.abc import Iterator
from hashlib import blake2b

from ..transcript_feed import MessageAtPosition, Position, TranscriptState
from .file_memory import FileState
from .history import HistoryItem


def with_positions(items: Iterator[HistoryItem], start: Position) -> Iterator[MessageAtPosition]:
    """Yield messages with the positions at which they begin. `start` is the one of the first item."""
    for item in items:
        yield MessageAtPosition(item.message, start, item.origin)
        start = item.position


def transcript_state(path: str, state: FileState) -> TranscriptState:
    """Return what tells this state of a file from others."""
    digest = blake2b(path.encode(errors="surrogateescape"), digest_size=6).hexdigest()
    return TranscriptState(f"{digest}-{state.inode} {state.size} {state.mtime}", state.mtime // 1000)
