"""What the store needs of a database, so that its statements know no dialect."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ..base import Tell

T = TypeVar("T")

# A column's value as the driver hands it over: the statement that reads it knows its type.
Value = Any
Row = tuple[Value, ...]


class Transaction(Protocol):
    """A connection inside a transaction. Statements mark parameters with `?`."""

    lock: str
    """Ends a SELECT of rows that the transaction goes on to change, where it must keep others off them."""

    bytewise: str
    """Stands behind a column whose texts are compared by their bytes, whatever the database's language."""

    def all(self, statement: str, *parameters: object) -> list[Row]: ...

    def one(self, statement: str, *parameters: object) -> Row | None: ...

    def run(self, statement: str, *parameters: object) -> int:
        """The number of rows it changed."""
        ...

    def insert(self, statement: str, *parameters: object) -> int:
        """The key of the row it inserted."""
        ...


class SearchIndex(Protocol):
    """Finds names and message texts by words. Keys are the rows' keys; the largest is the newest."""

    def put_name(self, tx: Transaction, session_key: int, owner: str, name: str) -> None: ...

    def put_messages(self, tx: Transaction, owner: str, texts: Sequence[tuple[int, str]]) -> None: ...

    def drop_session(self, tx: Transaction, session_key: int) -> None: ...

    def find(
        self, tx: Transaction, kind: str, words: Sequence[str], owner: str, *, below: int, above: int, limit: int
    ) -> list[int]:
        """At most `limit` keys with every word, newest first, `above < key < below`. `kind`: `name` or `message`."""
        ...

    def finds(self, text: str, words: Sequence[str]) -> bool:
        """Whether these words would find a text, were it in the index."""
        ...


class Database(Protocol):
    """Every function given to it runs inside one transaction, whole or not at all, and may run twice."""

    @property
    def index(self) -> SearchIndex: ...

    async def open(self, purge: Callable[[Transaction], bool]) -> None:
        """Connect, bring the schema up to date, then run `purge`, each time in a transaction, while it says True."""
        ...

    async def open_existing(self) -> None:
        """Connect to a store that is there, for reading: nothing is made, brought up to date or purged.

        Raises `Unavailable` where there is none, and for one of an older program.
        """
        ...

    async def examine(self, tell: Tell) -> None:
        """Tell what there is, and what the next `open` makes of it, while it is closed. Nothing is changed."""
        ...

    async def close(self) -> None: ...

    def count_on(self, tx: Transaction) -> None:
        """After rows came with keys of their own: the keys of those that follow are larger."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """For what an index answers in far less than a millisecond."""
        ...

    async def scan(self, work: Callable[[Transaction], T]) -> T:
        """For reads that may take longer; they don't hold up others."""
        ...

    async def search(self, work: Callable[[Transaction], T], seconds: float) -> T:
        """Like `scan`, but a running statement raises `OutOfTime` inside `work` once the time is up.

        `seconds` are the processor's; waiting for a disk or behind other programs is bounded too, more loosely.
        """
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Acknowledged only when it is on the disk."""
        ...


class OutOfTime(Exception):
    """A statement was stopped because its time was up."""
