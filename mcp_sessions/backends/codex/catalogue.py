"""The threads in a home of Codex, in order, with the facts about each.

The files decide which threads exist and which are archived. The database knows the names of paginated threads, and the
index those of legacy ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ...errors import BadResponse, NotFound, SessionsError, Timeout, Unsupported, quoted
from ..transcript_feed import FileState
from ..transcripts.file_memory import FileMemory
from ..transcripts.runs import microseconds
from ..transcripts.values import time_of_milliseconds
from .home import CodexHome, HomeContents, Rollout, Thread, state_of
from .rollout import PREVIEW_LENGTH, RolloutFacts, SessionMeta, open_rollout, read_facts
from .session_index import SessionIndex
from .state_database import StateDatabase, StateRow, StateSnapshot

_NAME_LENGTH = 200

Key = tuple[int, int]
"""The place of a thread in a list: a time in microseconds since 1970, and a digest of its id."""


class CatalogueEntry(NamedTuple):
    """A thread, the file that is the thread as it is now, and what the database says of it."""

    thread: Thread
    file: Rollout
    row: StateRow | None
    key: Key = (0, 0)

    @property
    def id(self) -> str:
        return self.thread.id


class _Order(NamedTuple):
    """The threads in an order that only depends on which threads there are, and on the database."""

    threads: Mapping[str, Thread]
    rows: Mapping[str, StateRow]
    entries: list[CatalogueEntry]


@dataclass(frozen=True, slots=True)
class CatalogueSources:
    """The sources of the facts about threads, and caches of what was read from files and of the order."""

    home: CodexHome
    database: StateDatabase
    index: SessionIndex
    facts: FileMemory[RolloutFacts] = field(default_factory=FileMemory[RolloutFacts])
    orders: dict[tuple[str, bool | None], _Order] = field(default_factory=dict[tuple[str, bool | None], _Order])


class Catalogue:
    """The threads of a home as they are now. `unreadable` counts those that could not be read."""

    def __init__(self, sources: CatalogueSources, stops_at: float) -> None:
        self.home = sources.home
        self.stops_at = stops_at
        self.state: StateSnapshot = sources.database.read(stops_at)
        self.index: Mapping[str, str]
        self.index, note = sources.index.read(stops_at)
        self.notes = [text for text in (self.state.note, note) if text]
        self.unreadable = 0
        self._sources = sources
        self._known = sources.facts
        self._contents: HomeContents | None = None

    @property
    def threads(self) -> Mapping[str, Thread]:
        """The threads by id."""
        return self._read_home().threads

    def thread_with(self, file_id: str) -> Thread | None:
        """Return the thread that has a file, None if there is none. Its first file has the id of the thread."""
        contents = self._read_home()
        return contents.threads.get(file_id) or contents.segments.get(file_id)

    def _read_home(self) -> HomeContents:
        if self._contents is None:
            self._contents = self.home.walk()
            self.unreadable += self._contents.unreadable
        return self._contents

    def find(self, thread_id: str) -> CatalogueEntry:
        """Return a thread. Raise `NotFound`, or `BadResponse` if its file is not one of a thread."""
        thread = self.threads.get(thread_id)
        if thread is None:
            raise NotFound(f"no session {quoted(thread_id)}. Call list_sessions for valid ids.")
        entry = self._entry(thread)
        if self.facts(entry).meta is None:
            raise BadResponse("the file of this session doesn't begin as Codex's do. Restore it from a backup.")
        return entry

    def has(self, thread_id: str) -> bool:
        """Return whether there is such a thread, and its file can be read."""
        thread = self.threads.get(thread_id)
        return thread is not None and self.is_thread(self._entry(thread))

    def ordered(self, order: str, *, archived: bool | None = None) -> Iterator[CatalogueEntry]:
        """Yield the archived threads, or all others, in an order."""
        known = self._sources.orders.get((order, archived))
        if known is not None and known.threads is self.threads and known.rows is self.state.rows:
            entries = known.entries
        else:
            entries, is_fixed = self._entries(archived, by_creation=order.startswith("created"))
            sign = -1 if order.endswith("desc") else 1
            entries.sort(key=lambda entry: (sign * entry.key[0], entry.key[1]))
            if is_fixed:
                self._sources.orders[order, archived] = _Order(self.threads, self.state.rows, entries)
        return (entry for entry in entries if self.is_thread(entry))

    def _entries(self, archived: bool | None, *, by_creation: bool) -> tuple[list[CatalogueEntry], bool]:
        """Return the threads with their places in a list, and whether these don't depend on the threads' files."""
        found: list[CatalogueEntry] = []
        is_fixed = True
        for thread in self.threads.values():
            row = self.state.rows.get(thread.id)
            file = thread.segments(row.path if row else "")[-1]
            if archived in (None, file.is_archived):
                known = (row.created if by_creation else row.updated) if row else 0
                is_fixed = is_fixed and known > 0
                time = known * 1000 or self._time(CatalogueEntry(thread, file, row), by_creation=by_creation)
                if time is not None:
                    found.append(CatalogueEntry(thread, file, row, (time, thread.digest)))
        return found, is_fixed

    def project(self, entry: CatalogueEntry) -> str:
        """Return the folder that a thread works in, "" if it is unknown."""
        meta = self.facts(entry).meta
        return (meta.project if meta else "") or (entry.row.project if entry.row else "")

    def is_thread(self, entry: CatalogueEntry) -> bool:
        """Return whether the file of a thread can be read and is one."""
        try:
            return self.facts(entry).meta is not None
        except Timeout:
            raise
        except NotFound:
            return False  # removed meanwhile
        except SessionsError:
            self.unreadable += 1
            return False

    def facts(self, entry: CatalogueEntry) -> RolloutFacts:
        """Return the facts of a thread's file. Those of a compressed file that can't be decompressed are empty.

        Raise the errors of `open_rollout`.
        """
        state = state_of(entry.file)
        facts = self._known.get(entry.file.path, state)
        if facts is None:
            facts = self._read(entry, state)
            self._known.put(entry.file.path, state, facts)
        return facts

    def _read(self, entry: CatalogueEntry, state: FileState) -> RolloutFacts:
        earlier = self._known.earlier(entry.file.path, state) if entry.file.is_plain else None
        try:
            with open_rollout(entry.file, self.stops_at) as opened:
                return read_facts(opened, earlier)
        except Unsupported:
            mode = entry.row.mode if entry.row else "legacy"
            return RolloutFacts(SessionMeta(mode=mode), updated=state.mtime // 1000)

    def name(self, entry: CatalogueEntry) -> str:
        """Return a thread's name, or the beginning of its first prompt if it has none."""
        given = self.given_name(entry)
        if given:
            return given
        preview = (entry.row.preview if entry.row else "") or self.facts(entry).preview
        return " ".join(preview[:PREVIEW_LENGTH].split())[:_NAME_LENGTH]

    def given_name(self, entry: CatalogueEntry) -> str:
        """Return the name that a thread was given, "" if it has none."""
        if self.is_legacy(entry):
            return self.index.get(entry.id, "")
        return entry.row.name if entry.row else ""

    def is_legacy(self, entry: CatalogueEntry) -> bool:
        """Return whether a thread is legacy, so that its name is in the index."""
        meta = self.facts(entry).meta
        return ((meta.mode if meta else "") or (entry.row.mode if entry.row else "")) == "legacy"

    def updated_at(self, entry: CatalogueEntry) -> datetime | None:
        """Return when a thread was changed last."""
        time = self._time(entry)
        return time_of_milliseconds(time / 1000) if time else None

    def created_at(self, entry: CatalogueEntry) -> datetime | None:
        """Return when a thread was created."""
        time = self._time(entry, by_creation=True)
        return time_of_milliseconds(time / 1000) if time else None

    def entries(self) -> Iterator[CatalogueEntry]:
        """Yield all threads without opening a file, so that some of them may not be readable."""
        return map(self._entry, self.threads.values())

    def _entry(self, thread: Thread) -> CatalogueEntry:
        row = self.state.rows.get(thread.id)
        return CatalogueEntry(thread, thread.segments(row.path if row else "")[-1], row)

    def _time(self, entry: CatalogueEntry, *, by_creation: bool = False) -> int | None:
        """Return the time of a thread in microseconds, None if it can't be read."""
        known = (entry.row.created if by_creation else entry.row.updated) if entry.row else 0
        if known:
            return known * 1000
        if not self.is_thread(entry):
            return None
        facts = self.facts(entry)
        return microseconds(facts.meta.created_at if facts.meta else None) if by_creation else facts.updated
