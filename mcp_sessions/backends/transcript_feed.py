"""What a search index reads of a backend whose sessions are files to which messages are appended."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, Self

from ..models import Message

Position = tuple[int, ...]
"""A place in a transcript where reading can begin."""
NEWEST: Position = ()


class FileState(NamedTuple):
    """What tells one state of a file from another without reading it. `mtime` is in nanoseconds.

    `names`: a digest of the names that the session has in other files, 0 if it has none there.
    """

    inode: int
    size: int
    mtime: int
    names: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the state of a text, or one that no file has if the text has another form."""
        try:
            inode, size, mtime, names = map(int, text.split())
        except ValueError:
            return cls(0, 0, 0)
        return cls(inode, size, mtime, names)

    def __str__(self) -> str:
        return " ".join(map(str, self))

    @property
    def changed_at(self) -> int:
        """The time of the last change in microseconds since 1970."""
        return self.mtime // 1000

    def may_continue(self, earlier: Self) -> bool:
        """Return whether this may be the same file after something was appended to it."""
        return self.inode == earlier.inode and self.size >= earlier.size


class MessageAtPosition(NamedTuple):
    """A message, and the position from which it is the first one that is read.

    `origin`: the message that it is a copy of, as `SESSION/MESSAGE`, "" if it is none.
    """

    message: Message
    position: Position
    origin: str = ""


@dataclass(frozen=True, slots=True)
class OpenTranscript:
    """A session while its file is open.

    `messages` yields the messages from a position on, newest first, without those that another session has too. It
    raises `Invalid` if there is no such position any more.
    """

    name: str
    created_at: datetime | None
    messages: Callable[[Position], Iterator[MessageAtPosition]]
    project: str = ""


class TranscriptFeed(Protocol):
    """The transcripts of a backend as they are now. Nothing of them is ever changed."""

    @property
    def states(self) -> Mapping[str, FileState]:
        """The states of all sessions by their ids."""
        ...

    @property
    def unreadable(self) -> int:
        """The number of files and folders that could not be looked at."""
        ...

    def open(self, session_id: str, stops_at: float) -> AbstractContextManager[OpenTranscript | None]:
        """Open a session of `states`, or return None if its file is no session. To be called in a thread.

        Reading raises `Timeout` after the time `stops_at` of `time.monotonic`, and `NotFound` if the file is gone.
        """
        ...
