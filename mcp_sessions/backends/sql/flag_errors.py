"""A store as a command names it: what fails there is said of the flag that it was given by."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from ...errors import SessionsError
from ..database.database import Database, SearchIndex, Transaction

T = TypeVar("T")


class FlaggedStore:
    """A database, open, and the flag."""

    def __init__(self, flag: str, database: Database) -> None:
        self._flag = flag
        self._database = database

    @property
    def index(self) -> SearchIndex:
        return self._database.index

    def count_on(self, tx: Transaction) -> None:
        self._database.count_on(tx)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        with said_of(self._flag):
            return await self._database.scan(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        with said_of(self._flag):
            return await self._database.write(work)


@contextmanager
def said_of(flag: str) -> Generator[None]:
    """What is said of `--backend` is said of this flag instead."""
    try:
        yield
    except SessionsError as error:
        raise type(error)(f"{flag}: {error.message.replace('--backend', flag)}") from error
