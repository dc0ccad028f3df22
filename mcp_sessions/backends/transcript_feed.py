"""What a search index reads of a backend whose sessions are files to which messages are appended."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, Self

from ..models import Role

Position = tuple[int, ...]
"""A place in a transcript where reading can begin."""
NEWEST: Position = ()


_FORMAT = "%d %d %d %d%s"
"""The text of a `FileState`: its fields, separated by spaces."""


class FileState(NamedTuple):
    """What tells one state of a file from another without reading it. `mtime` is in nanoseconds.

    `names`: a digest of what other files say of the session, such as its name, 0 if they say nothing. `bases`: the
    sessions whose files decide which messages are shared with it, as ` ID=INODE` for each, with 0 for a missing file: a
    text that begins with a space, so that one format makes the text of the whole state.
    """

    inode: int
    size: int
    mtime: int
    names: int = 0
    bases: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the state of a text, or one that no file has if the text doesn't begin with four numbers."""
        try:
            inode, size, mtime, names, *bases = text.split()
            return cls(int(inode), int(size), int(mtime), int(names), "".join(f" {base}" for base in bases))
        except ValueError:
            return cls(0, 0, 0)

    def __str__(self) -> str:
        return _FORMAT % self

    @classmethod
    def texts(cls, states: Mapping[str, Self]) -> dict[str, str]:
        """Return the texts of many states by their keys. For that, no function in Python is called for each."""
        return dict(zip(states, map(_FORMAT.__mod__, states.values()), strict=True))

    @property
    def base_ids(self) -> list[str]:
        """The ids of the sessions in `bases`."""
        return [base.partition("=")[0] for base in self.bases.split()]

    @property
    def changed_at(self) -> int:
        """The time of the last change in microseconds since 1970."""
        return self.mtime // 1000

    def with_bases(self, ids: Iterable[str], states: Mapping[str, Self]) -> Self:
        """Return the state with bases, which have these states now."""
        return self._replace(bases="".join(f" {id}={states[id].inode if id in states else 0}" for id in ids))

    def may_continue(self, earlier: Self) -> bool:
        """Return whether this may be the same file after something was appended to it."""
        return self.inode == earlier.inode and self.size >= earlier.size and self.bases == earlier.bases


class ShownText(NamedTuple):
    """What a search needs of a message. A `Message` takes much longer to create."""

    id: str
    role: Role
    text: str
    created_at: datetime | None


class MessageAtPosition(NamedTuple):
    """A message, and the position at which reading begins with this message.

    `origin`: the message that it is a copy of, as `SESSION/MESSAGE`, "" if it is none.
    """

    message: ShownText
    position: Position
    origin: str = ""


@dataclass(frozen=True, slots=True)
class OpenTranscript:
    """A session while its file is open.

    `messages` yields the messages from a position on, newest first, without the results of tools and without messages
    that another session has too. It raises `Invalid` if there is no such position any more. `bases`: the sessions whose
    files decide which messages are shared. `ids_are_unique`: a message of another session with the same id is a copy.
    """

    name: str
    created_at: datetime | None
    messages: Callable[[Position], Iterator[MessageAtPosition]]
    project: str = ""
    bases: Sequence[str] = ()
    ids_are_unique: bool = False


class TranscriptFeed(Protocol):
    """The transcripts of a backend as they are now. They are only read."""

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
