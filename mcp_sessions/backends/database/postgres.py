"""PostgreSQL: every call is one transaction in a thread, over one of a few connections, until its time is up.

Durability: what a call acknowledged is in the server's log, as far as its `synchronous_commit` and `fsync` go. A
connection that breaks off makes a call run again over another, also while the server restarts; where it broke off
at COMMIT, it is settled first whether that came about (`postgres_connection.Held`).
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
from ..base import Tell
from .database import Row, SearchIndex, Transaction
from .postgres_checks import examine_server, tell_of_connection
from .postgres_connection import (
    CHANGE,
    READ,
    UPKEEP,
    Attempt,
    Connecting,
    Held,
    Kind,
    Stopped,
    committed_number,
    forget_receipts,
    parameters,
)
from .postgres_errors import RUN_AGAIN, ReadOnly, connection_refusal, is_passing, refusal
from .postgres_schema import examine as examine_store
from .postgres_schema import migrate, require_made
from .tsvector import TsvectorIndex

T = TypeVar("T")

# More than the 16 calls that one caller may have at once, so that others find one too. A server has 100 by default,
# for all of its clients; a call holds one for some milliseconds, and those that are idle for long are closed.
CONNECTIONS = 20
_RESTART_SECONDS = 10  # how long a server may be away before calls are told so
_RESTARTS_SHARE = 0.8  # at most, of a call's time
_MOST_LOSSES = 3  # what breaks a connection off each time may be the call itself
_WAITING_PER_WORK = 20  # how much longer a search may last than it would compute here
_OLDEST = 140_000


class _Clock:
    """A call's time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = monotonic() + seconds

    @property
    def rest(self) -> float:
        return max(self._ends - monotonic(), 0)


class PostgresDatabase:
    """The database that a URL names. `seconds` is what a call may take, with all its waiting and trying again."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self.index: SearchIndex = TsvectorIndex()
        self._parameters = parameters(url, seconds)
        self._seconds = seconds
        self._slots = CapacityLimiter(CONNECTIONS)
        self._threads = CapacityLimiter(math.inf)  # the slots limit them
        self._idle: list[Held] = []
        self._is_open = False
        self._answers = 0

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        async with self._connected():
            await self._run(UPKEEP, migrate)
            await self._purge(purge)

    async def open_existing(self) -> None:
        async with self._connected():
            await self._run(READ, require_made)

    async def examine(self, tell: Tell) -> None:
        async with self._connected() as connection:
            tell_of_connection(connection, tell)
            for check in [*await self._run(READ, examine_server), *await self._run(READ, examine_store)]:
                tell(check)
        await self.close()

    @asynccontextmanager
    async def _connected(self) -> "AsyncGenerator[psycopg.Connection[Row]]":
        """Until it is closed, or what is done first fails."""
        held = await self._connect(_Clock(self._seconds), patience=0)
        self._is_open = True
        self._idle.append(held)
        try:
            _check_server(held.connection)
            yield held.connection
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._is_open = False
        self._close_idle()

    def count_on(self, tx: Transaction) -> None:
        for table in ("sessions", "messages"):
            sequence = f"pg_get_serial_sequence('{table}', 'key')"
            tx.all(f"SELECT setval({sequence}, greatest(nextval({sequence}), (SELECT max(key) FROM {table})))")

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(READ, work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(READ, work)

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        return await self._run(READ, work, seconds * _WAITING_PER_WORK)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self._run(CHANGE, work)

    async def _purge(self, purge: Callable[[Transaction], bool]) -> None:
        with suppress(ReadOnly, Forbidden):  # what can't be written to can still be read
            await self._run(CHANGE, forget_receipts)
            while await self._run(CHANGE, purge):
                pass

    async def _run(self, kind: Kind, work: Callable[[Transaction], T], searching: float = 0) -> T:
        if not self._is_open:
            raise Unavailable("the store is closed. Enter it with `async with` first.")
        clock = _Clock(self._seconds)
        async with self._slot(clock):
            return await self._until_done(kind, work, clock, searching)

    @asynccontextmanager
    async def _slot(self, clock: _Clock) -> AsyncGenerator[None]:
        borrower, answers = object(), self._answers
        with move_on_after(clock.rest) as waiting:
            await self._slots.acquire_on_behalf_of(borrower)
        if waiting.cancelled_caught:
            if self._answers == answers:
                raise Timeout(f"PostgreSQL answered nobody for {clock.seconds:g} s; nothing was changed. Try again.")
            raise Busy(
                f"all {CONNECTIONS} connections to PostgreSQL were in use for {clock.seconds:g} s; nothing was "
                "changed. Wait 5 seconds and try again."
            )
        try:
            yield
        finally:
            self._slots.release_on_behalf_of(borrower)

    async def _until_done(self, kind: Kind, work: Callable[[Transaction], T], clock: _Clock, searching: float = 0) -> T:
        losses = 0
        while True:
            attempt = Attempt(await self._take(clock), kind, work, clock.rest, searching)
            await self._watch(attempt, clock)
            if attempt.error is None and attempt.finished.is_set():
                self._answers += 1
                return attempt.results[0]
            if not await self._is_to_run_again(attempt, clock):
                return attempt.results[0]
            losses += attempt.is_lost
            if losses == _MOST_LOSSES:
                raise Unavailable("the connection to PostgreSQL broke off again and again. See the server's log.")

    async def _is_to_run_again(self, attempt: Attempt[T], clock: _Clock) -> bool:
        """Whether it must be; False if it came about nevertheless. Raises what else there is to say of its end."""
        error = attempt.error
        if not attempt.finished.is_set() or attempt.is_lost:
            return await self._is_to_run_after_a_loss(attempt, clock)
        if isinstance(error, ReadOnlySqlTransaction) and self._was_made_before(attempt, clock):
            return True
        if isinstance(error, Stopped):
            raise _late(clock)  # it noticed before the connection broke off
        if isinstance(error, RUN_AGAIN):
            await sleep(min(random.uniform(0, 0.02), clock.rest))
            if clock.rest:
                return True
            raise Timeout("others kept changing the same; nothing was changed. Try again.") from error
        if isinstance(error, psycopg.Error):
            known = refusal(error, clock.seconds)
            if known is not None:
                raise known from error
        assert error is not None
        raise error

    async def _is_to_run_after_a_loss(self, attempt: Attempt[T], clock: _Clock) -> bool:
        self._close_idle()  # these lead to the same server
        if attempt.is_committing and attempt.kind.has_receipt:
            return not await self._has_come_about(attempt, clock)
        if not clock.rest:
            raise _late(clock)
        return True

    def _was_made_before(self, attempt: Attempt[T], clock: _Clock) -> bool:
        """Return whether a new connection may take changes: an old one keeps the default that a failover left it."""
        self._close_idle()
        return not attempt.held.is_new and clock.rest > 0

    async def _has_come_about(self, attempt: Attempt[T], clock: _Clock) -> bool:
        holder, number = attempt.held.holder, attempt.held.number
        try:
            newest = await self._until_done(UPKEEP, lambda tx: committed_number(tx, holder), clock)
        except SessionsError as error:
            raise OutcomeUnknown(
                "the connection to PostgreSQL broke off while the change was being committed, and it could not be "
                "asked in time whether it was. Read the session before you repeat it."
            ) from error
        return newest == number

    async def _watch(self, attempt: Attempt[T], clock: _Clock) -> None:
        """Run it in a thread. When it is back, that thread is done, and the connection closed or idle."""
        try:
            with move_on_after(clock.rest) as waiting:
                await to_thread.run_sync(attempt.run, abandon_on_cancel=True, limiter=self._threads)
            if waiting.cancelled_caught:
                await self._end(attempt.cut)
        except get_cancelled_exc_class():
            await self._end(attempt.stop)
            raise
        finally:
            if attempt.finished.is_set() and not (attempt.is_lost or isinstance(attempt.error, ReadOnlySqlTransaction)):
                self._put_back(attempt.held)
            else:
                attempt.held.close()

    def _put_back(self, held: Held) -> None:
        held.used_at = monotonic()
        held.is_new = False
        if self._is_open and held.is_usable:
            self._idle.append(held)
        else:
            held.close()
        while self._idle and not self._idle[0].is_usable:  # those taken least
            self._idle.pop(0).close()

    async def _end(self, end: Callable[[], None]) -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(end, limiter=self._threads)

    async def _take(self, clock: _Clock) -> Held:
        while self._idle:
            held = self._idle.pop()
            if held.is_usable:
                return held
            held.close()
        return await self._connect(clock, patience=_RESTART_SECONDS)

    async def _connect(self, clock: _Clock, *, patience: float) -> Held:
        """A new connection; while a server restarts, tried again for so many seconds."""
        away = _Clock(min(patience, clock.rest * _RESTARTS_SHARE))
        while True:
            try:
                return await self._connect_once(clock)
            except psycopg.OperationalError as error:
                if not (is_passing(error) and away.rest):
                    given = self._parameters
                    raise connection_refusal(error, given.get("user", ""), given.get("dbname", "")) from None
            await sleep(min(random.uniform(0.05, 0.25), clock.rest))

    async def _connect_once(self, clock: _Clock) -> Held:
        connecting = Connecting(self._parameters)
        try:
            with move_on_after(clock.rest):
                await to_thread.run_sync(connecting.run, abandon_on_cancel=True, limiter=self._threads)
        except get_cancelled_exc_class():
            connecting.abandon()
            raise
        if connecting.held is None:
            connecting.abandon()
            raise _late(clock)
        return connecting.held

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _late(clock: _Clock) -> Timeout:
    return Timeout(f"PostgreSQL did not answer within {clock.seconds:g} s; nothing was changed. Try again.")


def _check_server(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    version = connection.info.server_version
    if version < _OLDEST:
        raise Unavailable(f"the server is PostgreSQL {version // 10_000}; 14 or newer is needed. Upgrade it.")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unavailable(
            f"the PostgreSQL database is encoded in {encoding}, which can't hold every text. "
            "Create one with ENCODING 'UTF8'."
        )
