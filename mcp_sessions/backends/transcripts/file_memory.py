"""What was read from a file, kept until the file changes."""

from collections import OrderedDict
from typing import Generic, TypeVar

from ..transcript_feed import FileState

T = TypeVar("T")


class FileMemory(Generic[T]):
    """Facts about files by their paths, each with the state of the file that it was read from.

    Of more than `limit` files, those that were read first are forgotten.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self._facts: OrderedDict[str, tuple[FileState, T]] = OrderedDict()
        self._limit = limit

    def get(self, path: str, state: FileState) -> T | None:
        """Return the facts of a file, or None if it was not read in this state."""
        known = self._facts.get(path)
        return known[1] if known is not None and known[0] == state else None

    def earlier(self, path: str, state: FileState) -> T | None:
        """Return the facts of an earlier state of a file that was only appended to, as far as can be told."""
        known = self._facts.get(path)
        return known[1] if known is not None and state.may_continue(known[0]) else None

    def put(self, path: str, state: FileState, facts: T) -> None:
        """Remember the facts of a file."""
        self._facts[path] = state, facts
        self._facts.move_to_end(path)
        while len(self._facts) > self._limit:
            self._facts.popitem(last=False)
