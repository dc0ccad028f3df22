"""Codex's threads as a search index reads them."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from ... import cursors
from ...errors import NotFound, SessionsError
from ..transcript_feed import FileState, MessageAtPosition, OpenTranscript, Position
from .catalogue import Catalogue, CatalogueEntry
from .conversation import Conversation
from .details import lineage_of
from .home import state_of
from .lineage import Lineage


class CodexFeed:
    """The threads in a home. Messages that a fork shares with another thread count as the other thread's only."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._entries: dict[str, CatalogueEntry] = {}
        self.states: Mapping[str, FileState] = dict(self._states())
        self.unreadable = catalogue.unreadable

    def _states(self) -> Iterator[tuple[str, FileState]]:
        for entry in self._catalogue.entries():
            try:
                state = state_of(entry.file)
            except NotFound:  # removed meanwhile
                continue
            except SessionsError:
                self._catalogue.unreadable += 1
                continue
            self._entries[entry.id] = entry
            row = entry.row
            names = (self._catalogue.index.get(entry.id, ""), (row.name, row.preview, row.project) if row else ())
            # The names of threads are not in their files, and their projects may not be.
            yield entry.id, state._replace(names=cursors.digest(repr(names), 4))

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
