"""The file of the search index, opened on first use and rebuilt when it is damaged."""

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
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
_WAS_DAMAGED = "The search index %s was damaged, so a new one was made."
_ANOTHER_KIND = "is a file of another kind, which is left alone. Set --index to another path."
_BUSY_SECONDS = 2.0
_SEARCH_SECONDS = 0.5  # of processor time


class DamagedIndex(BadResponse):
    """The index's file is damaged. `database` is its connection. `IndexStore.rebuild` makes a new file."""

    database: Database | None = None


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
        self._writes = 0
        self._known: dict[str, KnownStates] = {}

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

    async def open(self) -> str:
        """Open the file, or create it. Return a note if it was damaged and had to be rebuilt.

        Raise `Unavailable` if it can't be used, also if a newer version of this program made it.
        """
        async with self._opening:
            if self._database is not None and self._identity == file_identity(str(self._path)):
                return ""
            await self._close()  # if the file was deleted or replaced
            was_used = self._locks.folder.is_dir()  # only a search index has this folder beside it
            note = ""
            try:
                self._database = await self._opened()
            except BadResponse as error:
                if not was_used:
                    raise Unavailable(f"the index's file {_ANOTHER_KIND}") from error
                await self._replace_file()
                logger.warning(_WAS_DAMAGED, self._path)
                note = REBUILT
            try:
                self._locks.open()
            except OSError as error:
                raise Unavailable(
                    f"the index's folder can't be created ({error.strerror}). Set --index to another path, or to off."
                ) from error
            return note

    async def rebuild(self, error: "DamagedIndex | None" = None) -> str:
        """Remove the file and make a new one, unless that was done since this error. Return a note about it."""
        async with self._opening:
            if error is None or error.database is self._database:
                await self._replace_file()
                if error is not None:
                    logger.warning(_WAS_DAMAGED, self._path)
        return REBUILT

    async def _close(self) -> None:
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def _opened(self) -> Database:
        database = sqlite_database(url_of(self._path), schema.SQLITE, seconds=_BUSY_SECONDS)
        await database.open(lambda tx: False)
        self._identity = file_identity(str(self._path))
        self._known.clear()
        return database

    async def _replace_file(self) -> None:
        await self._close()
        self._remove_file()
        self._database = await self._opened()

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

    async def known_states(self, source: str, current: Mapping[str, FileState]) -> KnownStates:
        """Return in which states the files of a system were indexed, from memory if the index has not changed.

        `current` has the states of the files now.
        """

        def read(tx: Transaction) -> KnownStates:
            version, known = (tables.version(tx), self._writes), self._known.get(source)
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
        self._known[source] = known

    async def write(self, work: Callable[[Transaction], T]) -> T:
        try:
            return await self.write_update(work)
        finally:
            self._writes += 1

    async def write_update(self, work: Callable[[Transaction], T]) -> T:
        """Write what a system's files contain, while holding its `sync_lock`."""
        self._known.clear()
        async with self._used() as database:
            return await database.write(work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        async with self._used() as database:
            return await database.scan(work)

    async def search(self, work: Callable[[Transaction], T]) -> T:
        """Run a search. `DeadlineExceeded` is raised inside `work` when it takes too long."""
        async with self._used() as database:
            return await database.search(work, _SEARCH_SECONDS)

    @asynccontextmanager
    async def _used(self) -> AsyncGenerator[Database]:
        """Yield the database. Raise `DamagedIndex` or `UnusableIndex`, to tell errors of the file from the system's."""
        if self._database is None:
            async with self._opening:  # another backend may have closed the file to make a new one
                pass
        database = self._database
        if database is None:
            raise UnusableIndex("the index is closed. Enter the backend with `async with` first.")
        try:
            yield database
        except SessionsError as error:
            if not isinstance(error, BadResponse) and database is self._database:
                raise UnusableIndex(error.message) from error
            damaged = DamagedIndex(error.message)  # also if another backend closed it meanwhile, to make a new one
            damaged.database = database
            raise damaged from error
