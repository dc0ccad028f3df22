"""The file of the search index, opened on first use and rebuilt when it is damaged."""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import anyio

from ....errors import BadResponse, SessionsError, Unavailable
from ....sqlite_url import url_of
from ...database.database import Database, Transaction
from ...database.opening import sqlite_database
from ...database.sqlite_file import Identity, file_identity
from ...database.times import to_datetime
from ...file_locks import FileLocks
from ...health import CheckResult, Report
from ...transcript_feed import FileState
from . import schema, tables

logger = logging.getLogger(__name__)
T = TypeVar("T")

REBUILT = "The search index was damaged, so a new one was made."
_ANOTHER_KIND = "is no search index, so it is left alone. Set --index to another path."
_REPLACED = "the search index was deleted or replaced during the call. Repeat the call."
_BUSY_SECONDS = 2.0
_SEARCH_SECONDS = 0.5  # of processor time


class DamagedIndex(BadResponse):
    """The index's file is damaged. `database` is its connection. `IndexStore.rebuild` makes a new file."""

    database: Database | None = None


class ReplacedIndex(Unavailable):
    """The index's file was deleted or replaced since the call opened it. What the call knows of it is of no use."""


class UnusableIndex(Unavailable):
    """The index's file can't be read or written now."""


class KnownStates(NamedTuple):
    """In which states the files of a system were indexed.

    `version` differs after every change to the index but those of `write_update`.
    """

    version: tuple[int, int]
    states: Mapping[str, FileState]
    is_complete: bool
    """Whether all files that there were have been indexed once."""
    files: Mapping[str, FileState] | None = None
    """The states of the files themselves when these were found to be the indexed ones."""


class IndexStore:
    """The full-text index of all backends of a server. Each `Indexed` enters it; the last one that leaves closes it.

    The file holds words, their places and digests, not texts. It can be deleted at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().absolute()
        self._locks = FileLocks(self._path.with_suffix(".locks"))
        self._database: Database | None = None
        self._identity: Identity | None = None
        self._opening = anyio.Lock()
        self._users = 0
        self.writes = 0
        self.known: dict[str, KnownStates] = {}

    async def __aenter__(self) -> Self:
        self._users += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        if not self._users:
            await self._close()

    async def examine(self, source: str, report: Report) -> None:
        """Report the file's size, and how many sessions of a system it has. Call this only while it is closed."""
        try:
            size = self._path.stat().st_size / 1_000_000
        except OSError:
            report(CheckResult("index", f"{self._path} does not exist yet; the first search creates it"))
            return
        if not size:
            report(CheckResult("index", f"{self._path} is empty; the first search fills it"))
            return
        database = sqlite_database(url_of(self._path), schema.SQLITE, seconds=_BUSY_SECONDS)
        try:
            await database.open_existing()
            try:
                count, marks, unreadable = await database.scan(partial(tables.coverage, source=source))
            finally:
                await database.close()
        except SessionsError as error:
            why = f"can't be used: {error}"
            if isinstance(error, BadResponse):
                is_ours = self._locks.folder.is_dir()
                why = "is damaged; the next search makes a new one" if is_ours else _ANOTHER_KIND
            report(CheckResult("index", f"{self._path} {why}", "warning"))
            return
        sessions = f"{count:,} session{'' if count == 1 else 's'} of this system"
        state = (
            f"{sessions}: all that there were at {to_datetime(marks[0]):%Y-%m-%d %H:%M} UTC. The next search adds newer"
            " messages"
            if marks
            else f"only {sessions}, not all yet. Searches add the others; mcp-sessions index adds them at once"
        )
        missing = f". {unreadable:,} could not be read" if unreadable else ""
        report(CheckResult("index", f"{self._path} ({size:.1f} MB) has {state}{missing}"))

    async def open(self) -> "OpenIndex":
        """Open the file, or create it, for one call.

        Raise `UnusableIndex` if it can't be used, also if a newer version of this program made it.
        """
        with _as_unusable():
            async with self._opening:
                return await self._open()

    async def _open(self) -> "OpenIndex":
        if self._database is not None and self._identity == self.file_identity():
            return OpenIndex(self, self._database, self._identity)
        await self._close()  # if the file was deleted or replaced
        was_used = self._locks.folder.is_dir()  # only a search index has this folder beside it
        note = ""
        try:
            database = self._database = await self._opened()
        except BadResponse as error:
            if not was_used:
                raise Unavailable(f"the index's file {_ANOTHER_KIND}") from error
            database = await self._replace_file()
            note = REBUILT
        try:
            self._locks.open()
        except OSError as error:
            raise Unavailable(
                f"the index's folder can't be created ({error.strerror}). Set --index to another path, or to off."
            ) from error
        return OpenIndex(self, database, self._identity, note)

    async def rebuild(self, error: DamagedIndex | None = None) -> str:
        """Remove the file and make a new one, unless that was done since this error. Return a note about the error."""
        with _as_unusable():
            async with self._opening:
                if error is None or error.database is self._database:
                    await self._replace_file(is_damaged=error is not None)
        return REBUILT

    async def _close(self) -> None:
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def _opened(self) -> Database:
        database = sqlite_database(url_of(self._path), schema.SQLITE, seconds=_BUSY_SECONDS)
        await database.open(lambda tx: False)
        self._identity = self.file_identity()
        self.known.clear()
        return database

    async def _replace_file(self, *, is_damaged: bool = True) -> Database:
        await self._close()
        self._remove_file()
        database = self._database = await self._opened()
        if is_damaged:
            logger.warning("The search index %s was damaged, so a new one was made.", self._path)
        return database

    def _remove_file(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def sync_lock(self, source: str) -> Generator[bool]:
        """Hold the lock to update a source, and yield True. Yield False if another call or process holds it."""
        with self._locks.try_lock(source) as is_held:
            yield is_held

    @contextmanager
    def all_sync_locks(self) -> Generator[bool]:
        """Hold the locks to update any source, and yield True. Yield False if a call or process holds one of them."""
        with self._locks.try_all() as are_held:
            yield are_held

    def file_identity(self) -> Identity | None:
        """Return what tells the file that is at the path now from others, None if there is none that can be used."""
        try:
            return file_identity(str(self._path))
        except Unavailable:
            return None

    def is_current(self, index: "OpenIndex") -> bool:
        """Return whether the file is still open and at its path."""
        return index.database is self._database and index.identity == self.file_identity()


@contextmanager
def _as_unusable() -> Generator[None]:
    """Raise errors as `UnusableIndex`."""
    try:
        yield
    except SessionsError as error:
        raise UnusableIndex(error.message) from error


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """The index's file as one call uses it. Each method raises `ReplacedIndex` if another file is there meanwhile.

    Else what the call read of one file could be applied to another: an update would add only the newest messages of a
    session to a file that has none of it, and mark it as read. `note` says that the file was damaged before.
    """

    store: IndexStore
    database: Database
    identity: Identity | None
    note: str = ""

    async def known_states(self, source: str, current: Mapping[str, FileState]) -> KnownStates:
        """Return in which states the files of a system were indexed, from memory if the index has not changed.

        `current` has the states of the files now.
        """

        def read(tx: Transaction) -> KnownStates:
            version, known = (tables.version(tx), self.store.writes), self.store.known.get(source)
            if known is None or known.version != version:
                known = KnownStates(
                    version, tables.states(tx, source, current), tables.marks(tx, source, "") is not None
                )
            return known

        known = await self.scan(read)
        self.remember_states(source, known)
        return known

    def remember_states(self, source: str, known: KnownStates) -> None:
        """Keep what `known_states` returned, with the changes that `write_update` made since."""
        if self.store.is_current(self):
            self.store.known[source] = known

    async def write(self, work: Callable[[Transaction], T]) -> T:
        try:
            return await self.write_update(work)
        finally:
            self.store.writes += 1

    async def write_update(self, work: Callable[[Transaction], T]) -> T:
        """Write what a system's files contain, while holding its `sync_lock`."""
        self.store.known.clear()
        with self._translate_errors():
            return await self.database.write(self._checked(work))

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        with self._translate_errors():
            return await self.database.scan(self._checked(work))

    async def search(self, work: Callable[[Transaction], T]) -> T:
        """Run a search. `DeadlineExceeded` is raised inside `work` when it takes too long."""
        with self._translate_errors():
            return await self.database.search(self._checked(work), _SEARCH_SECONDS)

    def _checked(self, work: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        """Return the work, preceded by a check that `database` has not opened another file that is there now."""

        def checked(tx: Transaction) -> T:
            if self.store.file_identity() != self.identity:
                raise ReplacedIndex(_REPLACED)
            return work(tx)

        return checked

    @contextmanager
    def _translate_errors(self) -> Generator[None]:
        """Raise `DamagedIndex`, `ReplacedIndex` or `UnusableIndex`, to tell errors of the index from others."""
        try:
            yield
        except ReplacedIndex:
            raise
        except SessionsError as error:
            if not self.store.is_current(self):  # another call may have closed `database`
                raise ReplacedIndex(_REPLACED) from error
            if not isinstance(error, BadResponse):
                raise UnusableIndex(error.message) from error
            damaged = DamagedIndex(error.message)
            damaged.database = self.database
            raise damaged from error
