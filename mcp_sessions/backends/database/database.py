"""The interface that the store needs of a database, so that its statements are the same on SQLite and PostgreSQL."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ..health import Report

T = TypeVar("T")

# A column's value as the driver returns it: the statement that reads it knows its type.
Value = Any
Row = tuple[Value, ...]


class Transaction(Protocol):
    """A connection inside a transaction. Statements mark parameters with `?`."""

    lock: str
    """SQL that ends a SELECT of rows that the transaction will change, to lock them; "" if that isn't needed."""

    byte_collation: str
    """SQL that follows a column name to compare it by bytes, whatever the database's collation."""

    def all(self, statement: str, *parameters: object) -> list[Row]:
        """Return all rows of a query."""
        ...

    def one(self, statement: str, *parameters: object) -> Row | None:
        """Return the first row of a query, or None."""
        ...

    def run(self, statement: str, *parameters: object) -> int:
        """Execute a statement. Return the number of rows that it changed."""
        ...

    def insert(self, statement: str, *parameters: object) -> int:
        """Execute an INSERT of one row. Return the row's key."""
        ...


class SearchIndex(Protocol):
    """A full-text index of session names and message texts, by the keys of their rows. Newer keys are larger."""

    def put_name(self, tx: Transaction, session_key: int, owner: str, name: str) -> None:
        """Index a session's name in place of the previous one. "" removes it."""
        ...

    def put_messages(self, tx: Transaction, owner: str, texts: Sequence[tuple[int, str]]) -> None:
        """Index the texts of new messages, by the messages' keys."""
        ...

    def drop_session(self, tx: Transaction, session_key: int) -> None:
        """Remove a session's name and messages. Call this before the messages are deleted."""
        ...

    def find(
        self, tx: Transaction, kind: str, words: Sequence[str], owner: str, *, below: int, above: int, limit: int
    ) -> list[int]:
        """Return up to `limit` keys between `above` and `below` whose text has every word, newest first.

        `kind` is `name` or `message`. Only the owner's rows are searched, or all if `owner` is "".
        Without words, every row is found.
        """
        ...


class Database(Protocol):
    """A database. Each function passed to it runs in one transaction, and may run again if that has to be repeated."""

    @property
    def index(self) -> SearchIndex: ...

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        """Connect and migrate the schema, then call `purge` in a transaction of its own until it returns False."""
        ...

    async def open_existing(self) -> None:
        """Connect to an existing store for reading, without creating, migrating or purging anything.

        Raise `Unavailable` if there is no store, or if an older or newer version made it.
        """
        ...

    async def examine(self, report: Report) -> None:
        """Report the state of the database and what the next `open` will do, without changing anything.

        Call this only while the database is closed.
        """
        ...

    async def close(self) -> None: ...

    def advance_keys(self, tx: Transaction) -> None:
        """Make keys of future rows larger than all existing ones. Call this after inserting rows with given keys."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run a read that takes far less than a millisecond, thanks to an index."""
        ...

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        """Run a read that may take longer, without blocking other calls."""
        ...

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        """Run a read like `scan`, but raise `DeadlineExceeded` inside `work` when a statement runs out of time.

        `seconds` is processor time. The time spent on waiting for a disk or other processes has a larger limit.
        """
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a change. Return after it is committed to disk."""
        ...


class DeadlineExceeded(Exception):
    """The exception of a statement that was stopped because its time is up."""
