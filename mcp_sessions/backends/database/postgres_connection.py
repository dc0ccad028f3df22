"""A connection to PostgreSQL: how it is made, a transaction on it, and how that is stopped from outside."""

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
from .database import OutOfTime, Row, Transaction
from .postgres_errors import is_lost
from .postgres_schema import SCHEMA

T = TypeVar("T")

_LIFETIME = 3600  # seconds; then a connection is made anew, so that what a server moved or renewed is noticed
_IDLE_SECONDS = 300
_SERVERS_SHARE = 0.9  # of a call's time: the server gives up first, and says so
_CANCEL_SECONDS = 1.0
_CANCELS = 10


def parameters(url: str, seconds: float) -> dict[str, Any]:
    """What libpq is told. Raises `Invalid`, without repeating anything of it, for what is no PostgreSQL URL."""
    try:
        given = conninfo.conninfo_to_dict(url)
        if not all(0 < int(port) < 65_536 for port in str(given.get("port", "")).split(",") if port):
            raise ValueError
    except (psycopg.Error, ValueError):
        raise Invalid(
            "the PostgreSQL URL is malformed, or has an option that PostgreSQL's library has not. "
            "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %2F for a / in one of them, and so on."
        ) from None
    # A server that vanished without a word is noticed in time for a second try.
    defaults = {
        "fallback_application_name": "mcp-sessions",
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": ceil(seconds * 1000 / 3),
    }
    return defaults | given | {"client_encoding": "utf8", "connect_timeout": max(2, ceil(seconds))}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a transaction is for."""

    begin: str
    lock: str = ""
    has_receipt: bool = False


READ = Kind("ISOLATION LEVEL REPEATABLE READ READ ONLY")
CHANGE = Kind("ISOLATION LEVEL READ COMMITTED", " FOR UPDATE", has_receipt=True)
"""Rows are locked as they are found, so that no change builds on a row that another is changing."""
UPKEEP = Kind("ISOLATION LEVEL READ COMMITTED", " FOR UPDATE")
"""What can be done twice."""


class Held:
    """A connection of ours.

    Each change leaves a receipt in the same transaction: the connection's own row gets the change's number. When
    the acknowledgement of a COMMIT is lost, that row tells whether it came about. A transaction's id would not:
    after a crash PostgreSQL gives ids out again that had not reached its log.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self.connection = connection
        self.holder = secrets.randbits(62)
        self.number = 0
        self.is_new = True
        """Whether no call is over yet that was made over it."""
        self.used_at = monotonic()
        self._made_at = self.used_at

    @property
    def is_usable(self) -> bool:
        return (
            not self.connection.closed
            and self.connection.info.transaction_status == TransactionStatus.IDLE
            and monotonic() < min(self._made_at + _LIFETIME, self.used_at + _IDLE_SECONDS)
        )

    def close(self) -> None:
        with suppress(psycopg.Error):
            self.connection.close()

    def cut(self) -> None:
        """Wake whoever waits for the server on this connection."""
        with suppress(OSError, psycopg.Error):
            descriptor = os.dup(self.connection.fileno())
            with socket.socket(fileno=descriptor) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


class Connecting:
    """A connection being made in a thread, which nothing can stop while it looks up a name."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._lock = Lock()
        self._is_unwanted = False
        self.held: Held | None = None

    def run(self) -> None:
        connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None)
        with self._lock:
            self.held = Held(connection)
            if self._is_unwanted:
                self.held.close()

    def abandon(self) -> None:
        with self._lock:
            self._is_unwanted = True
            if self.held is not None:
                self.held.close()


class PostgresTransaction:
    """`seconds`: after which its statements raise `OutOfTime`, if they do."""

    bytewise = ' COLLATE "C"'

    def __init__(self, connection: psycopg.Connection[Row], lock: str, seconds: float, has_stopped: Callable[[], bool]):
        self.lock = lock
        self._connection = connection
        self._ends = monotonic() + seconds if seconds else 0
        self._set_seconds = inf
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
            raise Stopped
        try:
            if self._ends:
                self._limit()
            return self._connection.execute(_for_driver(statement), parameters)
        except (errors.QueryCanceled, errors.LockNotAvailable) as error:
            if self._ends and not self._has_stopped():
                raise OutOfTime from error
            raise

    def _limit(self) -> None:
        """At most a half too long, so that not every statement takes one more round trip."""
        rest = self._ends - monotonic()
        if rest <= 0:
            raise OutOfTime
        if rest < self._set_seconds / 1.5:
            self._set_seconds = rest
            self._connection.execute(f"SET LOCAL statement_timeout = {ceil(rest * 1000)}".encode())


class Stopped(Exception):
    """The call that a transaction was for has ended."""


@lru_cache(1024)
def _for_driver(statement: str) -> bytes:
    return statement.replace("%", "%%").replace("?", "%s").encode()


class Attempt(Generic[T]):
    """One try of a call in a thread: BEGIN, the work, COMMIT. Without an `error` its one result was committed.

    `is_lost`: whether the connection broke off, so that the transaction did, unless it `is_committing`.
    `seconds` are what is left of the call's time, `searching` those after which statements raise `OutOfTime`.
    """

    def __init__(
        self, held: Held, kind: Kind, work: Callable[[Transaction], T], seconds: float, searching: float = 0
    ) -> None:
        self.held = held
        self.kind = kind
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.is_lost = False
        self.is_committing = False
        self.finished = Event()
        self._work = work
        self._seconds = seconds
        self._searching = searching
        self._lock = Lock()
        self._has_stopped = False

    def run(self) -> None:
        try:
            self._transact()
        except BaseException as error:  # handed over to whoever waits for it
            self.is_lost = is_lost(error, self.held.connection)
            self.error = error
        finally:
            self.finished.set()

    def _transact(self) -> None:
        connection = self.held.connection
        try:
            connection.execute(self._begin())
            tx = PostgresTransaction(connection, self.kind.lock, self._searching, lambda: self._has_stopped)
            self.results.append(self._work(tx))
            with self._lock:
                if self._has_stopped:
                    raise Stopped
                self.is_committing = True
            connection.execute(b"COMMIT")
        except BaseException:
            if connection.pgconn.status == ConnStatus.OK:
                with suppress(psycopg.Error):
                    connection.execute(b"ROLLBACK")
            raise

    def _begin(self) -> bytes:
        """One round trip. Everything is set for this transaction only: behind a pooler the next may be elsewhere."""
        rest = max(1, round(self._seconds * _SERVERS_SHARE * 1000))
        statements = [
            f"BEGIN {self.kind.begin}",
            f"SET LOCAL search_path = {SCHEMA}, pg_temp",
            f"SET LOCAL statement_timeout = {rest}",
            f"SET LOCAL lock_timeout = {max(1, round(rest * _SERVERS_SHARE))}",
            f"SET LOCAL idle_in_transaction_session_timeout = {rest}",
        ]
        if self.kind.has_receipt:
            self.held.number += 1
            statements.append(_receipt(self.held.holder, self.held.number, "excluded.number"))
        return "; ".join(statements).encode()

    def stop(self) -> None:
        """End it: nothing more is committed, what runs is cancelled. Comes back when the thread is done."""
        with self._lock:
            self._has_stopped = True
        for _ in range(_CANCELS):
            try:
                self.held.connection.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error:
                break
            # One that comes between two statements is lost.
            if self.finished.wait(_CANCEL_SECONDS / _CANCELS):
                return
        self.cut()

    def cut(self) -> None:
        """The same without a word to the server."""
        with self._lock:
            self._has_stopped = True
        self.held.cut()
        self.finished.wait(_CANCEL_SECONDS)


def committed_number(tx: Transaction, holder: int) -> int:
    """The newest change that came about of those made over a connection; waits for one that is being made."""
    ((number,),) = tx.all(_receipt(holder, 0, "receipts.number") + " RETURNING number")
    return number


def forget_receipts(tx: Transaction) -> None:
    """Those of connections that must have ended long ago."""
    tx.run("DELETE FROM receipts WHERE used_at < ?", time_ns() // 1000 - 24 * _LIFETIME * 1_000_000)


def _receipt(holder: int, number: int, kept: str) -> str:
    return (
        f"INSERT INTO receipts (holder, number, used_at) VALUES ({holder}, {number}, {time_ns() // 1000})"
        f" ON CONFLICT (holder) DO UPDATE SET number = {kept}, used_at = excluded.used_at"
    )
