"""What a search index reads of a backend whose sessions are files to which messages are appended."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from ..models import Message

Position = tuple[int, ...]
"""A place in a transcript where reading can begin."""
NEWEST: Position = ()


class TranscriptState(NamedTuple):
    """The state of a session's file.

    `state` differs after every change: it has a name of the file, its size, and anything else, with spaces between.
    Bases, which are other sessions, have the form `ID=FILE`. `changed_at` is in microseconds since 1970.
    """

    state: str
    changed_at: int

    def with_bases(self, ids: Iterable[str], states: Mapping[str, "TranscriptState"]) -> "TranscriptState":
        """Return the state with bases and the files that these have now, "" for one that is missing."""
        files = [f"{id}={states[id].state.split()[0] if id in states else ''}" for id in ids]
        return self._replace(state=" ".join([self.state, *files]))

    def continues(self, earlier: str) -> bool:
        """Return whether something was appended to a file that was in the state `earlier`, as far as can be told."""
        (file, size, *_), (known, known_size, *_) = self.state.split(), (*earlier.split(), "", "")
        is_same = file == known and _bases(self.state) == _bases(earlier)
        return is_same and int(size) >= int(known_size)


def bases_in(state: str) -> Sequence[str]:
    """Return the ids of a state's bases."""
    return [base.partition("=")[0] for base in _bases(state)]


def _bases(state: str) -> Sequence[str]:
    return [word for word in state.split() if "=" in word] if "=" in state else []


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
    raises `Invalid` if there is no such position any more. `bases`: the sessions whose files decide which these are.
    """

    name: str
    created_at: datetime | None
    messages: Callable[[Position], Iterator[MessageAtPosition]]
    project: str = ""
    bases: Sequence[str] = ()


class TranscriptFeed(Protocol):
    """The transcripts of a backend as they are now. Nothing of them is ever changed."""

    @property
    def states(self) -> Mapping[str, TranscriptState]:
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
