"""SQLite: one writing connection on a worker thread, one reading connection on the event loop.

Durability: `synchronous=FULL` in both journal modes, so what a call acknowledged survives a killed process, and
a power loss as far as the disk keeps what it was told to flush.

Journal mode: several processes on one file can corrupt a WAL file with SQLite 3.7.0–3.51.2, but 3.50.7 and
3.44.6 (https://sqlite.org/wal.html, "the WAL-reset bug"), so WAL is chosen only for a new file, on a fixed SQLite
and a local filesystem; else the rollback journal. An existing file keeps the mode it has.
"""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import monotonic, thread_time
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from ...errors import Timeout, Unavailable
from ..base import Tell
from .database import OutOfTime, Row, SearchIndex, Transaction
from .fts5 import Fts5Index
from .sqlite_checks import examine
from .sqlite_errors import translating
from .sqlite_file import NOWHERE, Identity, identity_of, private_to_this_user, refuse_logs
from .sqlite_schema import migrate, require_file, require_made, transaction
from .sqlite_wal import is_local, wal_is_safe

logger = logging.getLogger(__name__)
T = TypeVar("T")

_STEPS_BETWEEN_CHECKS = 1000  # of SQLite's virtual machine: some 20 µs, so that a deadline is met closely
_WAITING_PER_WORK = 20  # how much longer a search may last than it computes: for a slow disk, or a busy machine


class SqliteTransaction:
    bytewise = ""
    lock = ""  # BEGIN IMMEDIATE keeps everybody off

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, statement: str, *parameters: object) -> list[Row]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise OutOfTime from error
            raise

    def one(self, statement: str, *parameters: object) -> Row | None:
        rows = self.all(statement, *parameters)
        return rows[0] if rows else None

    def run(self, statement: str, *parameters: object) -> int:
        return self._connection.execute(statement, parameters).rowcount

    def insert(self, statement: str, *parameters: object) -> int:
        return self._connection.execute(statement, parameters).lastrowid or 0


class SqliteDatabase:
    """A file, or `:memory:`. `busy_seconds` is how long a call waits for other processes' changes."""

    def __init__(self, path: str, *, busy_seconds: float) -> None:
        self.index: SearchIndex = Fts5Index()
        self._path = path if path == ":memory:" else str(Path(path).expanduser().absolute())
        self._busy_seconds = busy_seconds
        self._worker = CapacityLimiter(1)
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._reader_identity: Identity | None = None
        self._is_wal = False
        self._purge: Callable[[Transaction], bool] | None = None

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        await to_thread.run_sync(self._open, purge, limiter=self._worker)

    async def open_existing(self) -> None:
        await to_thread.run_sync(self._open_existing, limiter=self._worker)

    async def examine(self, tell: Tell) -> None:
        await to_thread.run_sync(self._examine, tell, limiter=self._worker)

    async def close(self) -> None:
        with CancelScope(shield=True):
            self._identity = None
            await to_thread.run_sync(self._close, limiter=self._worker)

    def count_on(self, tx: Transaction) -> None:
        """SQLite does so by itself."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        # On the loop: such a read takes less time than handing it to a thread and back (some 0.04 ms against 0.11).
        # It doesn't wait for locks; where another process holds one, the worker waits.
        if self._reader is not None:
            if identity_of(self._path) != self._reader_identity:
                self._reader.close()  # here, where it is used; the worker opens the file that is there now
                self._reader = None
                return await self.scan(work)
            try:
                with translating(self._path, 0):
                    return _transact(self._reader, "BEGIN", work)
            except Timeout:
                pass
        return await self.scan(work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        return await self._on_worker("BEGIN", work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        # IMMEDIATE takes the lock before anything is read: two processes' changes never build on the same state.
        return await self._on_worker("BEGIN IMMEDIATE", work)

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        def timed(tx: Transaction) -> T:
            work_ends, wait_ends = thread_time() + seconds, monotonic() + seconds * _WAITING_PER_WORK
            self._connection.set_progress_handler(
                lambda: thread_time() > work_ends or monotonic() > wait_ends, _STEPS_BETWEEN_CHECKS
            )
            try:
                return work(tx)
            finally:
                self._connection.set_progress_handler(None, 0)

        return await self._on_worker("BEGIN", timed)

    async def _on_worker(self, begin: str, work: Callable[[Transaction], T]) -> T:
        deadline = monotonic() + self._busy_seconds  # from here on, also while others' calls are before this one

        def run() -> T:
            with translating(self._path, self._busy_seconds):
                self._follow_the_file()
                rest = max(deadline - monotonic(), 0)
                self._connection.execute(f"PRAGMA busy_timeout = {round(rest * 1000)}")
                return _transact(self._connection, begin, work)

        return await to_thread.run_sync(run, limiter=self._worker)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._writer is None:
            raise Unavailable("the store is closed. Enter it with `async with` first.")
        return self._writer

    def _follow_the_file(self) -> None:
        """Open the file that is at the path now, where it is not the one that was opened.

        Raise `Unavailable` where there is none, since no change may go into a file that has no name any more, and
        where SQLite would write the old file's log into the new one.
        """
        if self._identity is None:
            return
        now = identity_of(self._path)
        if self._writer is None or now != self._identity:
            if now is None or self._purge is None:
                raise Unavailable(
                    "the store's file was deleted, moved or replaced while it was in use; nothing was changed. Put it "
                    "back, or restart mcp-sessions to begin with the file that is there."
                )
            refuse_logs(self._path, is_wal=self._is_wal)
            logger.warning("%s was replaced while it was in use; the new file is opened.", self._path)
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._open(self._purge)
        elif self._reader is None and self._purge is not None:  # it was closed where it is used
            self._reader = self._connect_reader()

    def _open(self, purge: Callable[[Transaction], bool]) -> None:
        self._purge = purge
        with translating(self._path, self._busy_seconds):
            in_memory = self._path == ":memory:"
            with private_to_this_user(self._path):
                self._writer = self._connect()
                try:
                    if not in_memory:
                        self._choose_journal(self._writer)
                    migrate(self._writer)
                    _purge(self._writer, purge)
                    if not in_memory:
                        self._identity = identity_of(self._path) or NOWHERE
                        self._is_wal = self._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
                        if self._reader is None:  # an earlier one is closed where it is used
                            self._reader = self._connect_reader()
                except BaseException:
                    self._close()
                    raise

    def _connect_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        reader.execute("PRAGMA busy_timeout = 0")
        self._reader_identity = self._identity
        return reader

    def _open_existing(self) -> None:
        with translating(self._path, self._busy_seconds):
            require_file(self._path)
            self._writer = self._connect_existing()
            try:
                require_made(self._writer)
                self._identity = identity_of(self._path) or NOWHERE
            except BaseException:
                self._close()
                raise

    def _examine(self, tell: Tell) -> None:
        with translating(self._path, self._busy_seconds):
            examine(self._path, self._connect_existing, tell)

    def _connect_existing(self) -> sqlite3.Connection:
        # "rw", since what a program that was killed left of a change must be undone before anything is read.
        connection = self._connect(f"{Path(self._path).as_uri()}?mode=rw")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect(self, uri: str = "") -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri or self._path,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            uri=bool(uri),
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")  # reads the file, and may have to wait for others' changes
        except BaseException:
            connection.close()
            raise
        return connection

    def _choose_journal(self, connection: sqlite3.Connection) -> None:
        # In this order: what isn't new has its mode, while a new file may get one from another process meanwhile.
        is_new = connection.execute("PRAGMA page_count").fetchone()[0] == 0
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        safe = wal_is_safe(sqlite3.sqlite_version_info)
        if mode == "wal":
            if not safe:
                logger.warning(
                    "%s is in WAL mode, and SQLite %s can damage it when several processes use it. "
                    "Use a Python with SQLite 3.51.3 or newer.",
                    self._path,
                    sqlite3.sqlite_version,
                )
            return
        wal = is_new and safe and is_local(Path(self._path))
        try:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'TRUNCATE'}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            # Another process is making the file. Setting a mode doesn't wait for that as a transaction does.
            with transaction(connection, "BEGIN IMMEDIATE"):
                pass
            self._choose_journal(connection)

    def _close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None


def _purge(connection: sqlite3.Connection, purge: Callable[[Transaction], bool]) -> None:
    try:
        while _transact(connection, "BEGIN IMMEDIATE", purge):
            pass
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:  # what can't be written to can still be read
            raise


def _transact(connection: sqlite3.Connection, begin: str, work: Callable[[Transaction], T]) -> T:
    # As `transaction` does, without the generator: every quick read comes through here.
    connection.execute(begin)
    try:
        result = work(SqliteTransaction(connection))
        connection.execute("COMMIT")
        return result
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
