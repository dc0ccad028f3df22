"""The index's file: opened when it is first needed, and made anew when it is damaged."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio

from ....errors import BadResponse, SessionsError, Unavailable
from ...database.database import Database, Transaction
from ...database.opening import sqlite_database
from ...database.times import to_datetime
from ...file_locks import FileLocks
from ...health import Check, Report
from . import schema, tables

T = TypeVar("T")

REBUILT = "The search index was damaged and is being made anew."
_BUSY_SECONDS = 2.0
_SEARCH_SECONDS = 0.5  # of processor time


class DamagedIndex(BadResponse):
    """The index's file is damaged. `IndexStore.rebuild` makes it anew."""


class UnusableIndex(Unavailable):
    """The index's file can't be read or written now."""


class IndexStore:
    """The full-text index of all backends of a server. Each `Indexed` enters it; the last one that leaves closes it.

    The file holds words, their places and digests, not texts. It can be deleted at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().absolute()
        self._locks = FileLocks(self._path.with_suffix(".locks"))
        self._database: Database | None = None
        self._opening = anyio.Lock()
        self._users = 0

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
            report(Check("index", f"{self._path} does not exist yet; the first search creates it"))
            return
        database = sqlite_database(f"sqlite:///{self._path}", schema.SQLITE, seconds=_BUSY_SECONDS)
        try:
            await database.open_existing()
            try:
                count, marks = await database.scan(lambda tx: (tables.count(tx, source), tables.marks(tx, source, "")))
            finally:
                await database.close()
        except SessionsError as error:
            report(Check("index", f"{self._path} can't be used: {error}", "warning"))
            return
        state = (
            f"and is complete up to {to_datetime(marks[0]):%Y-%m-%d %H:%M} UTC" if marks else "and is not complete yet"
        )
        report(Check("index", f"{self._path} ({size:.1f} MB) has {count:,} sessions of this system {state}"))

    async def open(self) -> str:
        """Open the file, or create it. Return a note if it was damaged and had to be made anew.

        Raise `Unavailable` if it can't be used, also if a newer version of this program made it.
        """
        async with self._opening:
            if self._database is not None and self._path.exists():
                return ""
            await self._close()  # if the file was deleted
            try:
                self._locks.open()
            except OSError as error:
                raise Unavailable(
                    f"the index's folder can't be created ({error.strerror}). Set --index to another path, or to off."
                ) from error
            try:
                self._database = await self._opened()
            except BadResponse:
                self._remove_file()
                self._database = await self._opened()
                return REBUILT
        return ""

    async def rebuild(self) -> str:
        """Remove the file and make a new one. Return a note about it."""
        async with self._opening:
            await self._close()
            self._remove_file()
            self._database = await self._opened()
        return REBUILT

    async def _close(self) -> None:
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def _opened(self) -> Database:
        database = sqlite_database(f"sqlite:///{self._path}", schema.SQLITE, seconds=_BUSY_SECONDS)
        await database.open(lambda tx: False)
        return database

    def _remove_file(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def sync_lock(self, source: str) -> Generator[bool]:
        """Hold the lock to update a source, and yield True. Yield False if another call or process holds it."""
        with self._locks.try_lock(source) as is_held:
            yield is_held

    async def write(self, work: Callable[[Transaction], T]) -> T:
        with _translate_errors():
            return await self._used.write(work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        with _translate_errors():
            return await self._used.scan(work)

    async def search(self, work: Callable[[Transaction], T]) -> T:
        """Run a search. `DeadlineExceeded` is raised inside `work` when it takes too long."""
        with _translate_errors():
            return await self._used.search(work, _SEARCH_SECONDS)

    @property
    def _used(self) -> Database:
        if self._database is None:
            raise Unavailable("the index is closed. Enter the backend with `async with` first.")
        return self._database


@contextmanager
def _translate_errors() -> Generator[None]:
    """Raise `DamagedIndex` or `UnusableIndex`, to tell errors of the file from those of the system."""
    try:
        yield
    except BadResponse as error:
        raise DamagedIndex(error.message) from error
    except SessionsError as error:
        raise UnusableIndex(error.message) from error
