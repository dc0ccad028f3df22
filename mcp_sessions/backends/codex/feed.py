"""Codex's threads as a search index reads them."""

import operator
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from ... import cursors
from ...errors import NotFound, SessionsError
from ..transcript_feed import FileState, MessageAtPosition, OpenTranscript, Position
from .catalogue import Catalogue, CatalogueEntry
from .conversation import Conversation
from .details import lineage_of
from .home import state_of
from .lineage import Lineage


@dataclass(slots=True)
class FeedMemory:
    """The last feed of a home. The next one takes from it what has not changed."""

    last: "CodexFeed | None" = None


class CodexFeed:
    """The threads in a home. Messages that a fork shares with another thread count as the other thread's only."""

    def __init__(self, catalogue: Catalogue, memory: FeedMemory) -> None:
        self._catalogue = catalogue
        self._made_from = (catalogue.threads, catalogue.state.rows, catalogue.index)
        self._files = catalogue.home.states()
        last = memory.last
        if last is not None and all(map(operator.is_, self._made_from, last._made_from)):
            self._entries, self._names = last._entries, last._names
        else:
            self._entries = {entry.id: entry for entry in catalogue.entries()}
            self._names = {id: self._names_of(entry) for id, entry in self._entries.items()}
            last = None
        is_unchanged = (
            last and len(self._files) == len(last._files) and all(map(operator.is_, self._files, last._files))
        )
        self.states: Mapping[str, FileState] = last.states if last and is_unchanged else dict(self._states())
        self.unreadable = catalogue.unreadable
        memory.last = self

    def _names_of(self, entry: CatalogueEntry) -> int:
        """Return a digest of a thread's names, which are not in its files, and of its project, which may not be."""
        row = entry.row
        names = (self._catalogue.index.get(entry.id, ""), (row.name, row.preview, row.project) if row else ())
        return cursors.digest(repr(names), 4)

    def _states(self) -> Iterator[tuple[str, FileState]]:
        files = {path: state for folder in self._files for path, state in folder.items()}
        for id, entry in self._entries.items():
            try:
                inode, size, mtime, *_ = files.get(entry.file.path) or state_of(entry.file)
            except NotFound:  # removed meanwhile
                continue
            except SessionsError:
                self._catalogue.unreadable += 1
                continue
            yield id, FileState(inode, size, mtime, self._names[id])

    @contextmanager
    def open(self, session_id: str, stops_at: float) -> Generator[OpenTranscript | None]:
        catalogue, entry = self._catalogue, self._entries[session_id]
        catalogue.stops_at = stops_at
        if catalogue.facts(entry).meta is None:
            yield None
            return
        with ExitStack() as files:
            lineage = lineage_of(catalogue, entry, stops_at, files)
            name, project = catalogue.name(entry), catalogue.project(entry)
            messages = partial(_messages, lineage)
            yield OpenTranscript(name, catalogue.created_at(entry), messages, project, lineage.bases())


def _messages(lineage: Lineage, position: Position) -> Iterator[MessageAtPosition]:
    return Conversation(lineage).texts(*position)
