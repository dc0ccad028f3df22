"""Errors of a store that name the command-line flag by which the store was given."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from ...errors import SessionsError
from ..database.database import Database, SearchIndex, Transaction

T = TypeVar("T")


class StoreArgument:
    """The open database of a store given by a command-line flag. Its errors name the flag."""

    def __init__(self, flag: str, database: Database) -> None:
        self._flag = flag
        self._database = database

    @property
    def index(self) -> SearchIndex:
        return self._database.index

    def advance_keys(self, tx: Transaction) -> None:
        self._database.advance_keys(tx)

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        with name_flag_in_errors(self._flag):
            return await self._database.scan(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        with name_flag_in_errors(self._flag):
            return await self._database.write(work)


@contextmanager
def name_flag_in_errors(flag: str) -> Generator[None]:
    """Make errors raised in this context begin with the flag."""
    try:
        yield
    except SessionsError as error:
        raise type(error)(f"{flag}: {error.message}") from error
