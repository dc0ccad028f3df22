"""SQLite: one connection for writing, on a worker thread, and one for short reads, on the event loop.

Durability: an acknowledged change survives a killed process. With `synchronous=FULL`, in both journal modes, it
survives a power loss too, if the disk really flushes when asked to.

Journal mode: with SQLite 3.7.0–3.51.2, except 3.50.7 and 3.44.6, several processes can corrupt a file in WAL mode
(https://sqlite.org/wal.html, "the WAL-reset bug"). So WAL is chosen only for a new file, with a fixed SQLite, on a
local filesystem. Other new files get a rollback journal; existing files keep their mode.
"""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import monotonic, thread_time
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from ...errors import Timeout, Unavailable
from ..filesystems import is_local
from ..health import Report
from .database import DeadlineExceeded, Row, SearchIndex, Transaction
from .fts5 import Fts5Index
from .schemas import SqliteSchema
from .sqlite_checks import examine
from .sqlite_connection import connect
from .sqlite_errors import translate_errors
from .sqlite_file import NOWHERE, Identity, file_identity, private_file_mode, refuse_leftover_journal
from .sqlite_schema import migrate, require_current_schema, require_file, transaction
from .sqlite_wal import wal_is_safe

logger = logging.getLogger(__name__)
T = TypeVar("T")

_STEPS_BETWEEN_CHECKS = 1000  # of SQLite's virtual machine; these take about 20 µs
_SEARCH_TIME_FACTOR = 20  # a search may take this many times its processor time, for a slow disk or a busy machine


class SqliteTransaction:
    """A transaction on a connection to SQLite."""

    byte_collation = ""
    lock = ""  # BEGIN IMMEDIATE locks the whole file

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, statement: str, *parameters: object) -> list[Row]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise DeadlineExceeded from error
            raise

    def one(self, statement: str, *parameters: object) -> Row | None:
        rows = self.all(statement, *parameters)
        return rows[0] if rows else None

    def run(self, statement: str, *parameters: object) -> int:
        return self._connection.execute(statement, parameters).rowcount

    def insert(self, statement: str, *parameters: object) -> int:
        return self._connection.execute(statement, parameters).lastrowid or 0


class SqliteDatabase:
    """A SQLite file, or `:memory:`. `busy_seconds` is how long a call waits for changes by other processes."""

    def __init__(self, path: str, *, busy_seconds: float, schema: SqliteSchema) -> None:
        self.index: SearchIndex = Fts5Index()
        self._schema = schema
        self._path = path if path == ":memory:" else str(Path(path).expanduser().absolute())
        self._busy_seconds = busy_seconds
        self._worker = CapacityLimiter(1)
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._reader_identity: Identity | None = None
        self._log_identity: Identity | None = None  # of the write-ahead log, in WAL mode
        self._purge: Callable[[Transaction], bool] | None = None

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        await to_thread.run_sync(self._open, purge, limiter=self._worker)

    async def open_existing(self) -> None:
        await to_thread.run_sync(self._open_existing, limiter=self._worker)

    async def examine(self, report: Report) -> None:
        await to_thread.run_sync(self._examine, report, limiter=self._worker)

    async def close(self) -> None:
        with CancelScope(shield=True):
            self._identity = None
            await to_thread.run_sync(self._close, limiter=self._worker)

    def advance_keys(self, tx: Transaction) -> None:
        """Do nothing: SQLite's AUTOINCREMENT does this."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        # On the event loop: such a read takes about 0.04 ms; handing it to a thread and back takes 0.11 ms.
        # It doesn't wait for locks: if another process has locked the file, the worker thread waits.
        if self._reader is not None:
            if file_identity(self._path) != self._reader_identity:
                self._reader.close()  # on the event loop, which uses it; the worker opens the new file
                self._reader = None
                return await self.scan(work)
            self._refuse_lost_log()
            try:
                with translate_errors(self._path, 0):
                    return _transact(self._reader, "BEGIN", work)
            except Timeout:
                pass
        return await self.scan(work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        return await self._on_worker("BEGIN", work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        # IMMEDIATE locks the file before the first read, so that no other change comes between read and write.
        return await self._on_worker("BEGIN IMMEDIATE", work)

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        def timed(tx: Transaction) -> T:
            work_ends, wait_ends = thread_time() + seconds, monotonic() + seconds * _SEARCH_TIME_FACTOR
            self._connection.set_progress_handler(
                lambda: thread_time() > work_ends or monotonic() > wait_ends, _STEPS_BETWEEN_CHECKS
            )
            try:
                return work(tx)
            finally:
                self._connection.set_progress_handler(None, 0)

        return await self._on_worker("BEGIN", timed)

    async def _on_worker(self, begin: str, work: Callable[[Transaction], T]) -> T:
        deadline = monotonic() + self._busy_seconds  # includes the time in the worker's queue

        def run() -> T:
            with translate_errors(self._path, self._busy_seconds):
                self._reopen_if_replaced()
                self._refuse_lost_log()
                remaining = max(deadline - monotonic(), 0)
                self._connection.execute(f"PRAGMA busy_timeout = {round(remaining * 1000)}")
                return _transact(self._connection, begin, work)

        return await to_thread.run_sync(run, limiter=self._worker)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._writer is None:
            raise Unavailable("the store is closed. Enter it with `async with` first.")
        return self._writer

    def _reopen_if_replaced(self) -> None:
        """Reopen the store if another file is now at its path.

        Raise `Unavailable` if no file is there, since a change to a deleted file would be lost, or if SQLite could
        replay the old file's journal into the new one.
        """
        if self._identity is None:
            return
        current = file_identity(self._path)
        if self._writer is None or current != self._identity:
            if current is None or self._purge is None:
                raise Unavailable(
                    "the store's file was deleted, moved or replaced while it was in use; nothing was changed. Put it "
                    "back, or restart mcp-sessions, which opens the file at that path or makes a new one."
                )
            refuse_leftover_journal(self._path, is_wal=self._log_identity is not None)
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._open(self._purge)
            logger.warning("%s was replaced while it was in use; opened the new file.", self._path)
        elif self._reader is None and self._purge is not None:  # `read` closed the earlier one
            self._reader = self._connect_reader()

    def _refuse_lost_log(self) -> None:
        """Raise `Unavailable` if the write-ahead log is no longer the one in use, since changes in it could be lost."""
        if self._log_identity is not None and file_identity(f"{self._path}-wal") != self._log_identity:
            raise Unavailable(
                "the store's write-ahead log was deleted or replaced while it was in use; nothing was changed. Stop "
                "every program that uses the store without killing it, so that the log is saved. Then start again."
            )

    def _open(self, purge: Callable[[Transaction], bool]) -> None:
        self._purge = purge
        with translate_errors(self._path, self._busy_seconds):
            in_memory = self._path == ":memory:"
            with private_file_mode(self._path):
                self._writer = self._connect()
                try:
                    if not in_memory:
                        self._choose_journal(self._writer)
                    migrate(self._writer, self._schema)
                    _purge(self._writer, purge)
                    if not in_memory:
                        self._identity = file_identity(self._path) or NOWHERE
                        is_wal = self._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
                        self._log_identity = file_identity(f"{self._path}-wal") if is_wal else None
                        if self._reader is None:  # `read` closes an earlier one, on the event loop that uses it
                            self._reader = self._connect_reader()
                except BaseException:
                    self._writer.close()  # not the reader of a replaced file, which the event loop may be using
                    self._writer = None
                    raise

    def _connect_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        reader.execute("PRAGMA busy_timeout = 0")
        self._reader_identity = self._identity
        return reader

    def _open_existing(self) -> None:
        with translate_errors(self._path, self._busy_seconds):
            require_file(self._path)
            self._writer = self._connect_existing()
            try:
                require_current_schema(self._writer, self._schema)
                self._identity = file_identity(self._path) or NOWHERE
            except BaseException:
                self._close()
                raise

    def _examine(self, report: Report) -> None:
        with translate_errors(self._path, self._busy_seconds):
            examine(self._path, self._schema, self._connect_existing, report)

    def _connect_existing(self) -> sqlite3.Connection:
        # "rw", since the unfinished change of a killed program must be rolled back before the file can be read.
        connection = self._connect(f"{Path(self._path).as_uri()}?mode=rw")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect(self, uri: str = "") -> sqlite3.Connection:
        return connect(uri or self._path, self._schema, self._busy_seconds, is_uri=bool(uri))

    def _choose_journal(self, connection: sqlite3.Connection) -> None:
        # In this order: only the mode of a new file may still be changed by another process.
        is_new = connection.execute("PRAGMA page_count").fetchone()[0] == 0
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        is_safe = wal_is_safe(sqlite3.sqlite_version_info)
        if mode == "wal":
            if not is_safe:
                logger.warning(
                    "%s is in WAL mode, and SQLite %s can damage it when several processes use it. "
                    "Use a Python with SQLite 3.51.3 or newer.",
                    self._path,
                    sqlite3.sqlite_version,
                )
            return
        use_wal = is_new and is_safe and is_local(Path(self._path))
        try:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if use_wal else 'TRUNCATE'}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            # Another process is creating the file. Setting the mode doesn't wait for its lock; a transaction does.
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
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:  # a file that can't be changed can still be read
            raise


def _transact(connection: sqlite3.Connection, begin: str, work: Callable[[Transaction], T]) -> T:
    # The same as `transaction`, without a generator's overhead: every short read passes through here.
    connection.execute(begin)
    try:
        result = work(SqliteTransaction(connection))
        connection.execute("COMMIT")
        return result
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
