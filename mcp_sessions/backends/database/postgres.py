"""PostgreSQL: each call is one transaction, run in a thread on a connection of a small pool, within a time limit.

Durability: an acknowledged change is in the server's log, subject to its `synchronous_commit` and `fsync`. If the
connection breaks, or the server restarts, the call runs again on another connection. If it broke during COMMIT, a
receipt first shows whether the change was committed (`postgres_connection.PooledConnection`).
"""

import math
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TypeVar

import psycopg
from anyio import CancelScope, CapacityLimiter, get_cancelled_exc_class, move_on_after, sleep, to_thread
from psycopg.errors import ReadOnlySqlTransaction

from ...errors import Busy, Forbidden, OutcomeUnknown, SessionsError, Timeout, Unavailable
from ..health import Report
from .database import Row, SearchIndex, Transaction
from .postgres_checks import examine_server, report_connection, require_supported_server
from .postgres_connection import (
    CHANGE,
    READ,
    REPEATABLE_CHANGE,
    ConnectionAttempt,
    PooledConnection,
    StopAttempt,
    TransactionAttempt,
    TransactionMode,
    committed_number,
    delete_old_receipts,
    parameters,
)
from .postgres_errors import RETRYABLE, ReadOnlyDatabase, connection_error, is_temporary, statement_error
from .postgres_schema import examine as examine_store
from .postgres_schema import migrate, require_current_schema
from .schemas import PostgresSchema
from .tsvector import TsvectorIndex

T = TypeVar("T")

# More than the 16 concurrent calls that one caller may make, so that one caller can't use up all connections. A server
# allows 100 by default, for all of its clients. A call needs one for some milliseconds; idle ones are closed.
CONNECTIONS = 20
_RESTART_SECONDS = 10  # calls wait this long for a server that restarts
_RESTART_TIME_SHARE = 0.8  # of a call's remaining time, at most
_MAX_LOSSES = 3  # after that, the call itself may be what breaks the connections
_SEARCH_TIME_FACTOR = 20
"""A search may last this many times its processor time in this process, since most of the work is the server's."""


class _Deadline:
    """The time limit of a call."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = monotonic() + seconds

    @property
    def remaining(self) -> float:
        return max(self._ends - monotonic(), 0)

    def timeout(self) -> Timeout:
        return Timeout(f"PostgreSQL did not answer within {self.seconds:g} s; nothing was changed. Try again.")


class PostgresDatabase:
    """A PostgreSQL database. `seconds` limits a call, including waiting and retries."""

    def __init__(self, url: str, *, seconds: float, schema: PostgresSchema) -> None:
        self.index: SearchIndex = TsvectorIndex()
        self._schema = schema
        self._parameters = parameters(url, seconds)
        self._seconds = seconds
        self._slots = CapacityLimiter(CONNECTIONS)
        self._threads = CapacityLimiter(math.inf)  # the slots limit them
        self._idle: list[PooledConnection] = []
        self._is_open = False
        self._answer_count = 0

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        async with self._connected():
            await self._run(REPEATABLE_CHANGE, lambda tx: migrate(tx, self._schema))
            await self._purge(purge)

    async def open_existing(self) -> None:
        async with self._connected():
            await self._run(READ, lambda tx: require_current_schema(tx, self._schema))

    async def examine(self, report: Report) -> None:
        async with self._connected() as connection:
            report_connection(connection, report)
            for check in [*await self._run(READ, examine_server), *await self._run(READ, examine_store)]:
                report(check)
        await self.close()

    @asynccontextmanager
    async def _connected(self) -> "AsyncGenerator[psycopg.Connection[Row]]":
        """Open the pool, and close it again if the body fails."""
        pooled = await self._connect(_Deadline(self._seconds), patience=0)
        self._is_open = True
        self._idle.append(pooled)
        try:
            require_supported_server(pooled.connection)
            yield pooled.connection
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._is_open = False
        self._close_idle()

    def advance_keys(self, tx: Transaction) -> None:
        for table in ("sessions", "messages"):
            sequence = f"pg_get_serial_sequence('{table}', 'key')"
            tx.all(f"SELECT setval({sequence}, greatest(nextval({sequence}), (SELECT max(key) FROM {table})))")

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(READ, work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(READ, work)

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        return await self._run(READ, work, seconds * _SEARCH_TIME_FACTOR)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(CHANGE, work)

    async def _purge(self, purge: Callable[[Transaction], bool]) -> None:
        with suppress(ReadOnlyDatabase, Forbidden):  # a store that can't be changed can still be read
            await self._run(CHANGE, delete_old_receipts)
            while await self._run(CHANGE, purge):
                pass

    async def _run(self, mode: TransactionMode, work: Callable[[Transaction], T], search_seconds: float = 0) -> T:
        if not self._is_open:
            raise Unavailable("the store is closed. Enter it with `async with` first.")
        deadline = _Deadline(self._seconds)
        async with self._slot(deadline):
            return await self._run_with_retries(mode, work, deadline, search_seconds)

    @asynccontextmanager
    async def _slot(self, deadline: _Deadline) -> AsyncGenerator[None]:
        """Hold one of the slots that limit the number of connections. Raise an error if none is free in time."""
        borrower, answers = object(), self._answer_count
        with move_on_after(deadline.remaining) as waiting:
            await self._slots.acquire_on_behalf_of(borrower)
        if waiting.cancelled_caught:
            if self._answer_count == answers:
                raise deadline.timeout()
            raise Busy(
                f"all {CONNECTIONS} connections to PostgreSQL were in use for {deadline.seconds:g} s; nothing was "
                "changed. Wait 5 seconds and try again."
            )
        try:
            yield
        finally:
            self._slots.release_on_behalf_of(borrower)

    async def _run_with_retries(
        self, mode: TransactionMode, work: Callable[[Transaction], T], deadline: _Deadline, search_seconds: float = 0
    ) -> T:
        losses = 0
        while True:
            pooled = await self._take_connection(deadline)
            attempt = TransactionAttempt(pooled, mode, work, deadline.remaining, search_seconds)
            await self._run_attempt(attempt, deadline)
            if attempt.error is None and attempt.finished.is_set():
                self._answer_count += 1
                return attempt.results[0]
            if not await self._needs_retry(attempt, deadline):
                return attempt.results[0]
            losses += attempt.is_lost
            if losses == _MAX_LOSSES:
                raise Unavailable("the connection to PostgreSQL broke several times. See the server's log.")

    async def _needs_retry(self, attempt: TransactionAttempt[T], deadline: _Deadline) -> bool:
        """Return True if a failed attempt must be repeated, False if it was committed. Else raise its error."""
        error = attempt.error
        if not attempt.finished.is_set() or attempt.is_lost:
            return await self._needs_retry_after_loss(attempt, deadline)
        if isinstance(error, ReadOnlySqlTransaction):
            self._close_idle()  # connections made before a failover may stay read-only, unlike a new one
            if deadline.remaining and not attempt.pooled.is_new:
                return True
        if isinstance(error, StopAttempt):
            raise deadline.timeout()
        if isinstance(error, RETRYABLE):
            await sleep(min(random.uniform(0, 0.02), deadline.remaining))
            if deadline.remaining:
                return True
            raise Timeout("other calls kept changing the same rows; nothing was changed. Try again.") from error
        if isinstance(error, psycopg.Error):
            translated = statement_error(error, deadline.seconds, self._schema.name)
            if translated is not None:
                raise translated from error
        assert error is not None
        raise error

    async def _needs_retry_after_loss(self, attempt: TransactionAttempt[T], deadline: _Deadline) -> bool:
        self._close_idle()  # they lead to the same server, so they may be broken too
        if attempt.is_committing and attempt.mode.has_receipt:
            return not await self._was_committed(attempt, deadline)
        if not deadline.remaining:
            raise deadline.timeout()
        return True

    async def _was_committed(self, attempt: TransactionAttempt[T], deadline: _Deadline) -> bool:
        holder, number = attempt.pooled.holder, attempt.pooled.number
        try:
            newest = await self._run_with_retries(REPEATABLE_CHANGE, lambda tx: committed_number(tx, holder), deadline)
        except SessionsError as error:
            raise OutcomeUnknown(
                "the connection to PostgreSQL broke while the change was being committed, and it is unknown whether "
                "it was. Read the session before you repeat the change."
            ) from error
        return newest == number

    async def _run_attempt(self, attempt: TransactionAttempt[T], deadline: _Deadline) -> None:
        """Run the attempt in a thread. On return, the thread is done, and the connection closed or in the pool."""
        try:
            with move_on_after(deadline.remaining) as waiting:
                await to_thread.run_sync(attempt.run, abandon_on_cancel=True, limiter=self._threads)
            if waiting.cancelled_caught:
                await self._run_shielded(attempt.disconnect)
        except get_cancelled_exc_class():
            await self._run_shielded(attempt.cancel)
            raise
        finally:
            if attempt.finished.is_set() and not (attempt.is_lost or isinstance(attempt.error, ReadOnlySqlTransaction)):
                self._return_connection(attempt.pooled)
            else:
                attempt.pooled.close()

    def _return_connection(self, pooled: PooledConnection) -> None:
        pooled.used_at = monotonic()
        pooled.is_new = False
        if self._is_open and pooled.is_usable:
            self._idle.append(pooled)
        else:
            pooled.close()
        while self._idle and not self._idle[0].is_usable:  # the first ones have been idle longest
            self._idle.pop(0).close()

    async def _run_shielded(self, function: Callable[[], None]) -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(function, limiter=self._threads)

    async def _take_connection(self, deadline: _Deadline) -> PooledConnection:
        while self._idle:
            pooled = self._idle.pop()
            if pooled.is_usable:
                return pooled
            pooled.close()
        return await self._connect(deadline, patience=_RESTART_SECONDS)

    async def _connect(self, deadline: _Deadline, *, patience: float) -> PooledConnection:
        """Return a new connection. Retry for `patience` seconds while the server restarts."""
        restart = _Deadline(min(patience, deadline.remaining * _RESTART_TIME_SHARE))
        while True:
            try:
                return await self._connect_once(deadline)
            except psycopg.OperationalError as error:
                if not (is_temporary(error) and restart.remaining):
                    given = self._parameters
                    raise connection_error(error, given.get("user", ""), given.get("dbname", "")) from None
            await sleep(min(random.uniform(0.05, 0.25), deadline.remaining))

    async def _connect_once(self, deadline: _Deadline) -> PooledConnection:
        attempt = ConnectionAttempt(self._parameters, self._schema.name)
        try:
            with move_on_after(deadline.remaining):
                await to_thread.run_sync(attempt.run, abandon_on_cancel=True, limiter=self._threads)
        except get_cancelled_exc_class():
            attempt.abandon()
            raise
        if attempt.pooled is None:
            attempt.abandon()
            raise deadline.timeout()
        return attempt.pooled

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
