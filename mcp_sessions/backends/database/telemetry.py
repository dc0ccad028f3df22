"""Telemetry for databases: one OpenTelemetry span for each transaction."""

from collections.abc import Callable
from typing import TypeVar

from ..health import Report
from ..telemetry import enter_span, start_span
from .database import Database, SearchIndex, Transaction

T = TypeVar("T")


class TracingDatabase:
    """A database that records a span for each transaction. `system` is its name in OpenTelemetry's conventions."""

    def __init__(self, database: Database, system: str) -> None:
        self._database = database
        # Made once, since every quick read passes through here.
        self._read, self._scan, self._search, self._write = (
            {"db.system.name": system, "db.operation.name": name} for name in ("read", "scan", "search", "write")
        )

    @property
    def index(self) -> SearchIndex:
        return self._database.index

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        await self._database.open(purge)

    async def open_existing(self) -> None:
        await self._database.open_existing()

    async def examine(self, report: Report) -> None:
        await self._database.examine(report)

    async def close(self) -> None:
        await self._database.close()

    def advance_keys(self, tx: Transaction) -> None:
        self._database.advance_keys(tx)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        span = start_span("read", self._read)
        if span is None:
            return await self._database.read(work)
        with enter_span(span):
            return await self._database.read(work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        span = start_span("scan", self._scan)
        if span is None:
            return await self._database.scan(work)
        with enter_span(span):
            return await self._database.scan(work)

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        span = start_span("search", self._search)
        if span is None:
            return await self._database.search(work, seconds)
        with enter_span(span):
            return await self._database.search(work, seconds)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        span = start_span("write", self._write)
        if span is None:
            return await self._database.write(work)
        with enter_span(span):
            return await self._database.write(work)
