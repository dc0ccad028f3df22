"""The database of a store given by a command-line flag."""

from collections.abc import Callable
from typing import TypeVar

from ..database.database import Database, SearchIndex, Transaction
from ..flag_errors import name_flag_in_errors

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
