"""The overlay's database: opened when it is first needed, and shared by all backends of a server."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from ....errors import Conflict, Invalid, NotFound, SessionsError, Timeout, Unavailable
from ....sqlite_url import path_of
from ...database.database import Database, Transaction
from ...database.opening import postgresql_database, sqlite_database
from ...deadline import remaining
from ...health import CheckResult, Report
from ...options import (
    KEEP_DELETED,
    TIMEOUT,
    BackendOptions,
    options_of,
    parse_options,
    refuse_other_options,
    split_options,
)
from . import facts, schema

T = TypeVar("T")

TIMEOUT_SHARE = 0.4
"""The part of a call's time that the overlay may take. The rest is for the system."""
RETRY_AFTER_SECONDS = 5.0
"""Seconds until reads try again after the overlay did not answer one."""
_ABOUT_SESSIONS = (Conflict, Invalid, NotFound)
"""Errors of the work in a transaction, which are not about the overlay itself."""


@dataclass(frozen=True, kw_only=True)
class OverlayOptions(BackendOptions):
    """The options in the URL of an overlay."""

    keep_deleted: int = KEEP_DELETED.field()


class OverlayStore:
    """The database of an overlay. Each `Overlay` on it enters it, and it is closed when the last one leaves.

    `path` is the file of a SQLite database, "" for any other one. The values of a deleted session stay for
    `keep_deleted` days, or without a limit if that is None. Reading does not create a SQLite file. On PostgreSQL, the
    first call creates the tables.
    """

    def __init__(
        self,
        database: Database,
        *,
        timeout: float = TIMEOUT.default,
        path: str = "",
        keep_deleted: int | None = KEEP_DELETED.default,
    ) -> None:
        self._database = database
        self._timeout = timeout
        self._file = Path(path).expanduser().absolute() if path else None
        self._keep_deleted = keep_deleted
        self._opening = anyio.Lock()
        self._users = 0
        self._is_open = False
        self._failure: SessionsError | None = None
        self._paused_until = 0.0

    @classmethod
    def from_url(cls, url: str, *, purges: bool = True, **options: Any) -> "OverlayStore":
        """Return the overlay at `sqlite:///PATH?keep_deleted=DAYS` or `postgresql://…`, not yet opened.

        `purges`: whether opening it deletes the values of sessions that were deleted long enough ago. `options`: those
        of `OverlayOptions`, such as `timeout`, the seconds that one call may take in all. Options in the URL take
        precedence. Raise `Invalid` if the URL is malformed, or if the library for PostgreSQL is not installed.
        """
        address, texts = split_options(url, options_of(OverlayOptions), owner="overlay")
        values = options | parse_options(OverlayOptions, texts, owner="overlay")
        known = OverlayOptions(**values)
        seconds = known.timeout * TIMEOUT_SHARE
        path = ""
        if address.startswith("sqlite:"):
            database = sqlite_database(address, schema.SQLITE, seconds=seconds)
            refuse_other_options(address, OverlayOptions, owner="overlay")
            path = path_of(address)
        elif address.startswith("postgresql:"):
            try:
                database = postgresql_database(address, schema.POSTGRESQL, seconds=seconds)
            except ModuleNotFoundError as error:
                raise Invalid(
                    "an overlay on PostgreSQL needs the extra: pip install 'mcp-sessions[postgres]'"
                ) from error
        else:
            raise Invalid("an overlay's URL has the form sqlite:///PATH or postgresql://USER@HOST/DATABASE")
        return cls(
            database,
            timeout=known.timeout,
            path="" if path == ":memory:" else path,
            keep_deleted=known.keep_deleted if purges else None,
        )

    async def __aenter__(self) -> Self:
        self._users += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        if not self._users and self._is_open:
            self._is_open = False
            await self._database.close()

    async def examine(self, source: str, report: Report) -> None:
        """Report what the overlay has about the sessions of a system, without changing anything.

        Call this only while no backend has entered the overlay.
        """
        place = self._file or "PostgreSQL"
        if not self.exists():
            report(CheckResult("overlay", f"{place} does not exist yet; the first change that needs it creates it"))
            return
        try:
            await self._database.open_existing()
            try:
                all_count, gone_count = await self._database.scan(lambda tx: facts.count(tx, source))
            finally:
                await self._database.close()
        except Unavailable as error:
            report(
                CheckResult(
                    "overlay", f"{place} can't be read before mcp-sessions is started on it: {error}", "warning"
                )
            )
        except SessionsError as error:
            report(CheckResult("overlay", f"{place}: {error}", "failed"))
        else:
            size = f" ({self._file.stat().st_size / 1_000_000:.1f} MB)" if self._file else ""
            text = f"{place}{size} has values of {all_count:,} sessions of this system, {gone_count:,} of them deleted"
            report(CheckResult("overlay", text))

    async def read(self, work: Callable[[Transaction], T], default: T) -> T:
        """Run a short read, or return `default` if there is no overlay yet."""
        with _name_overlay_in_errors():
            return await self._run_read(self._database.read, work, default)

    async def scan(self, work: Callable[[Transaction], T], default: T) -> T:
        """Run a read that may take longer, or return `default` if there is no overlay yet."""
        with _name_overlay_in_errors():
            return await self._run_read(self._database.scan, work, default)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a change, after creating the overlay if there is none."""
        with _name_overlay_in_errors():
            await self._open()
            done = await self._database.write(work)
            self._failure = None
            return done

    def exists(self) -> bool:
        """Return whether the overlay exists. On PostgreSQL, return True, since the first call creates it."""
        if self._file is None:
            return True
        try:
            self._file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass  # opening it gives a more precise error
        return True

    async def _run_read(
        self, read: Callable[[Callable[[Transaction], T]], Awaitable[T]], work: Callable[[Transaction], T], default: T
    ) -> T:
        if not (self._is_open or self.exists()):
            return default
        if self._failure is not None and anyio.current_time() < self._paused_until:
            raise type(self._failure)(self._failure.message)
        try:
            found = await self._read_in_time(read, work)
        except SessionsError as error:
            if not self._is_open or isinstance(error, Timeout | Unavailable):
                self._failure, self._paused_until = error, anyio.current_time() + RETRY_AFTER_SECONDS
            raise
        self._failure = None
        return found

    async def _read_in_time(
        self, read: Callable[[Callable[[Transaction], T]], Awaitable[T]], work: Callable[[Transaction], T]
    ) -> T:
        # The database has a time limit too, but a call may have less time left.
        seconds = remaining(self._timeout) * TIMEOUT_SHARE
        with anyio.move_on_after(seconds):
            await self._open()
            return await read(work)
        raise Timeout(f"its database did not answer within {seconds:.2g} s. Try again later.")

    async def _open(self) -> None:
        if self._is_open:
            return
        async with self._opening:
            if self._is_open:
                return
            if not self._users:
                raise Unavailable("it is closed. Enter the backend with `async with` first.")
            await self._database.open(self._purge)
            self._is_open = True

    def _purge(self, tx: Transaction) -> bool:
        return self._keep_deleted is not None and facts.purge(tx, self._keep_deleted)


@contextmanager
def _name_overlay_in_errors() -> Generator[None]:
    """Make errors of the database say that it is the overlay's."""
    try:
        yield
    except _ABOUT_SESSIONS:
        raise
    except SessionsError as error:
        raise type(error)(f"the overlay can't be used: {error.message}") from error
