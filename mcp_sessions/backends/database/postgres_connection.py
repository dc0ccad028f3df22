"""A connection to PostgreSQL, a transaction on it, and ways to stop either from another thread."""

import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf
from threading import Event, Lock
from time import monotonic, time_ns
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import conninfo, errors
from psycopg.pq import ConnStatus, TransactionStatus

from ...errors import Invalid
from .database import DeadlineExceeded, Row, Transaction
from .postgres_errors import is_lost

T = TypeVar("T")

_LIFETIME = 3600  # seconds; then the connection is replaced, in case the server moved or its certificate changed
_IDLE_SECONDS = 300
_SERVER_TIME_SHARE = 0.9  # of a call's time: the server gives up first, so that its error can be reported
_CANCEL_SECONDS = 1.0
_CANCELS = 10


def parameters(url: str, seconds: float) -> dict[str, Any]:
    """Return the connection parameters for libpq.

    Raise `Invalid` if the URL is malformed. The error does not repeat any part of it.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
        if not all(0 < int(port) < 65_536 for port in str(given.get("port", "")).split(",") if port):
            raise ValueError
    except (psycopg.Error, ValueError):
        raise Invalid(
            "the PostgreSQL URL is malformed, or has an option that PostgreSQL's library does not know. Write it as "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and percent-encode special characters, such as %2F for /."
        ) from None
    # These limits detect that a server has silently disappeared, early enough for a second attempt.
    defaults = {
        "fallback_application_name": "mcp-sessions",
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": ceil(seconds * 1000 / 3),
    }
    return defaults | given | {"client_encoding": "utf8", "connect_timeout": max(2, ceil(seconds))}


@dataclass(frozen=True, slots=True)
class TransactionMode:
    """The isolation level and row locks of a transaction, and whether it leaves a receipt."""

    begin: str
    lock: str = ""
    has_receipt: bool = False


READ = TransactionMode("ISOLATION LEVEL REPEATABLE READ READ ONLY")
CHANGE = TransactionMode("ISOLATION LEVEL READ COMMITTED", " FOR UPDATE", has_receipt=True)
"""Rows are locked when they are read, so that no change is based on a row that another transaction is changing."""
REPEATABLE_CHANGE = TransactionMode("ISOLATION LEVEL READ COMMITTED", " FOR UPDATE")
"""A change that can safely be made twice, and so needs no receipt."""


class PooledConnection:
    """A connection of the pool, and the number of its newest change.

    Each change leaves a receipt in the same transaction: it writes its number into the connection's row of the table
    `receipts`. If the acknowledgement of a COMMIT is lost, that row shows whether the change was committed. A
    transaction id would not show that: after a crash, PostgreSQL reuses ids that had not reached its log.
    """

    def __init__(self, connection: psycopg.Connection[Row], schema: str) -> None:
        self.connection = connection
        self.schema = schema
        self.holder = secrets.randbits(62)
        """The key of the connection's row in `receipts`."""
        self.number = 0
        self.is_new = True
        """Whether no call has finished on this connection yet."""
        self.used_at = monotonic()
        self._created_at = self.used_at

    @property
    def is_usable(self) -> bool:
        return (
            not self.connection.closed
            and self.connection.info.transaction_status == TransactionStatus.IDLE
            and monotonic() < min(self._created_at + _LIFETIME, self.used_at + _IDLE_SECONDS)
        )

    def close(self) -> None:
        with suppress(psycopg.Error):
            self.connection.close()

    def shut_down_socket(self) -> None:
        """Wake the thread that is waiting for the server on this connection."""
        with suppress(OSError, psycopg.Error):
            descriptor = os.dup(self.connection.fileno())
            with socket.socket(fileno=descriptor) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


class ConnectionAttempt:
    """An attempt to connect in a thread. It can't be stopped while it resolves a host name, only abandoned."""

    def __init__(self, parameters: dict[str, Any], schema: str) -> None:
        self._parameters, self._schema = parameters, schema
        self._lock = Lock()
        self._is_abandoned = False
        self.pooled: PooledConnection | None = None

    def run(self) -> None:
        connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None)
        with self._lock:
            self.pooled = PooledConnection(connection, self._schema)
            if self._is_abandoned:
                self.pooled.close()

    def abandon(self) -> None:
        """Close the connection, now or as soon as it is made."""
        with self._lock:
            self._is_abandoned = True
            if self.pooled is not None:
                self.pooled.close()


class PostgresTransaction:
    """A PostgreSQL transaction. If `seconds` is not 0, its statements raise `DeadlineExceeded` after that time."""

    byte_collation = ' COLLATE "C"'

    def __init__(self, connection: psycopg.Connection[Row], lock: str, seconds: float, has_stopped: Callable[[], bool]):
        self.lock = lock
        self._connection = connection
        self._ends = monotonic() + seconds if seconds else 0
        self._timeout = inf
        self._has_stopped = has_stopped

    def all(self, statement: str, *parameters: object) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    def one(self, statement: str, *parameters: object) -> Row | None:
        return self._execute(statement, parameters).fetchone()

    def run(self, statement: str, *parameters: object) -> int:
        return self._execute(statement, parameters).rowcount

    def insert(self, statement: str, *parameters: object) -> int:
        ((key,),) = self._execute(f"{statement} RETURNING key", parameters).fetchall()
        return key

    def _execute(self, statement: str, parameters: tuple[object, ...]) -> psycopg.Cursor[Row]:
        if self._has_stopped():
            raise StopAttempt
        try:
            if self._ends:
                self._set_timeout()
            return self._connection.execute(_for_driver(statement), parameters)
        except (errors.QueryCanceled, errors.LockNotAvailable) as error:
            if self._ends and not self._has_stopped():
                raise DeadlineExceeded from error
            raise

    def _set_timeout(self) -> None:
        # The limit may be up to 50 % too long: setting it before every statement would double the round trips.
        remaining = self._ends - monotonic()
        if remaining <= 0:
            raise DeadlineExceeded
        if remaining < self._timeout / 1.5:
            self._timeout = remaining
            self._connection.execute(f"SET LOCAL statement_timeout = {ceil(remaining * 1000)}".encode())


class StopAttempt(Exception):
    """The exception that ends a transaction in its thread because its call has ended."""


@lru_cache(1024)
def _for_driver(statement: str) -> bytes:
    return statement.replace("%", "%%").replace("?", "%s").encode()


class TransactionAttempt(Generic[T]):
    """One attempt to run a call's transaction in a thread: BEGIN, the work, COMMIT.

    If `error` is None after the end, the transaction was committed, and `results` contains the work's result.
    If `is_lost`, the connection broke, so the transaction was rolled back, unless it `is_committing`.
    `seconds` is the call's remaining time. Statements raise `DeadlineExceeded` after `search_seconds`, if not 0.
    """

    def __init__(
        self,
        pooled: PooledConnection,
        mode: TransactionMode,
        work: Callable[[Transaction], T],
        seconds: float,
        search_seconds: float = 0,
    ) -> None:
        self.pooled = pooled
        self.mode = mode
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.is_lost = False
        self.is_committing = False
        self.finished = Event()
        self._work = work
        self._seconds = seconds
        self._search_seconds = search_seconds
        self._lock = Lock()
        self._has_stopped = False

    def run(self) -> None:
        try:
            self._transact()
        except BaseException as error:  # the event loop's thread handles it
            self.is_lost = is_lost(error, self.pooled.connection)
            self.error = error
        finally:
            self.finished.set()

    def _transact(self) -> None:
        connection = self.pooled.connection
        try:
            connection.execute(self._begin())
            tx = PostgresTransaction(connection, self.mode.lock, self._search_seconds, lambda: self._has_stopped)
            self.results.append(self._work(tx))
            with self._lock:
                if self._has_stopped:
                    raise StopAttempt
                self.is_committing = True
            connection.execute(b"COMMIT")
        except BaseException:
            if connection.pgconn.status == ConnStatus.OK:
                with suppress(psycopg.Error):
                    connection.execute(b"ROLLBACK")
            raise

    def _begin(self) -> bytes:
        """Return the statements that begin the transaction, to be sent in one round trip."""
        # LOCAL, since a pooler may run the next transaction on another connection.
        timeout = max(1, round(self._seconds * _SERVER_TIME_SHARE * 1000))
        statements = [
            f"BEGIN {self.mode.begin}",
            f"SET LOCAL search_path = {self.pooled.schema}, pg_temp",
            f"SET LOCAL statement_timeout = {timeout}",
            f"SET LOCAL lock_timeout = {max(1, round(timeout * _SERVER_TIME_SHARE))}",
            f"SET LOCAL idle_in_transaction_session_timeout = {timeout}",
        ]
        if self.mode.has_receipt:
            self.pooled.number += 1
            statements.append(_receipt(self.pooled.holder, self.pooled.number, "excluded.number"))
        return "; ".join(statements).encode()

    def cancel(self) -> None:
        """Stop the transaction before its COMMIT, and cancel the running statement. Wait until the thread is done."""
        with self._lock:
            self._has_stopped = True
        for _ in range(_CANCELS):
            try:
                self.pooled.connection.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error:
                break
            # A cancel request that arrives between two statements has no effect, so repeat it.
            if self.finished.wait(_CANCEL_SECONDS / _CANCELS):
                return
        self.disconnect()

    def disconnect(self) -> None:
        """Stop the transaction by closing its connection, without sending a cancel request to the server."""
        with self._lock:
            self._has_stopped = True
        self.pooled.shut_down_socket()
        self.finished.wait(_CANCEL_SECONDS)


def committed_number(tx: Transaction, holder: int) -> int:
    """Return the number of the newest committed change of a connection. Wait for one that is being committed."""
    ((number,),) = tx.all(_receipt(holder, 0, "receipts.number") + " RETURNING number")
    return number


def delete_old_receipts(tx: Transaction) -> None:
    """Delete the receipts of connections that must have been closed long ago."""
    tx.run("DELETE FROM receipts WHERE used_at < ?", time_ns() // 1000 - 24 * _LIFETIME * 1_000_000)


def _receipt(holder: int, number: int, kept: str) -> str:
    return (
        f"INSERT INTO receipts (holder, number, used_at) VALUES ({holder}, {number}, {time_ns() // 1000})"
        f" ON CONFLICT (holder) DO UPDATE SET number = {kept}, used_at = excluded.used_at"
    )
