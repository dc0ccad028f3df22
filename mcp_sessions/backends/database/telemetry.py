"""A database whose every transaction is a span."""

from collections.abc import Callable
from typing import TypeVar

from ..base import Tell
from ..telemetry import started, within
from .database import Database, SearchIndex, Transaction

T = TypeVar("T")


class TracedDatabase:
    """`system` is the database's name in OpenTelemetry's conventions."""

    def __init__(self, database: Database, system: str) -> None:
        self._database = database
        # One for each operation, since every quick read comes through here.
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

    async def examine(self, tell: Tell) -> None:
        await self._database.examine(tell)

    async def close(self) -> None:
        await self._database.close()

    def count_on(self, tx: Transaction) -> None:
        self._database.count_on(tx)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        span = started("read", self._read)
        if span is None:
            return await self._database.read(work)
        with within(span):
            return await self._database.read(work)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        span = started("scan", self._scan)
        if span is None:
            return await self._database.scan(work)
        with within(span):
            return await self._database.scan(work)

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        span = started("search", self._search)
        if span is None:
            return await self._database.search(work, seconds)
        with within(span):
            return await self._database.search(work, seconds)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        span = started("write", self._write)
        if span is None:
            return await self._database.write(work)
        with within(span):
            return await self._database.write(work)
