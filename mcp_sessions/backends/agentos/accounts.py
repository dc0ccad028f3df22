"""What is known of an AgentOS, and held there, with each credential: nothing of it serves another."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from ..file_locks import FileLocks
from ..http.client import HttpClient
from ..http.credentials import Credential, PerCredential
from .api import Api
from .recheck.journal import Journal, open_journal
from .recheck.locks import Turns
from .recheck.rechecker import Keeper
from .recheck.writer import Changes
from .versions import KnownVersion


class Account(NamedTuple):
    """One credential's requests, with what they tell, and the changes that were made with it."""

    api: Api
    keeper: Keeper
    changes: Changes
    checking: anyio.CancelScope


class _Opened(NamedTuple):
    tasks: TaskGroup
    context: Context
    """That of the opening: what checks changes belongs to no call."""
    journal: sqlite3.Connection | None


class Accounts:
    """All on one AgentOS, database and table. They share connections, the server's version, and turns at a session.

    `folder` is where locks are, and, if changes are to be rechecked, the journal.
    """

    def __init__(self, http: HttpClient, *, db_id: str, table: str, folder: Path, recheck: bool) -> None:
        self.http = http
        self._place = {"db_id": db_id, "table": table}
        self._folder = folder
        self._recheck = recheck
        self._server = _digest(http.address.replace("//localhost", "//127.0.0.1"), db_id, table)
        self._version = KnownVersion()
        self._turns = Turns(FileLocks(folder / "locks"), self._server)
        self._kept = PerCredential(
            self._make, close=self._end, is_idle=lambda account: not account.keeper.holds_anything()
        )
        self._opened: _Opened | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TaskGroup]:
        """Yields where tasks of the backend can run until it is closed."""
        async with self.http:
            self._turns.open()
            journal = open_journal(self._folder) if self._recheck else None
            try:
                async with anyio.create_task_group() as tasks:
                    self._opened = _Opened(tasks, copy_context(), journal)
                    try:
                        yield tasks
                    finally:
                        tasks.cancel_scope.cancel()
            finally:
                self._opened = None
                self._kept.close()
                if journal is not None:
                    journal.close()

    def of(self, credential: Credential) -> Account:
        return self._kept.of(credential) if self._opened else self._make(credential)

    def _make(self, credential: Credential) -> Account:
        opened = None if credential.is_missing else self._opened
        # What one credential may see, another may not: each has what it changed checked with its own.
        server = _digest(self._server, credential.token)
        keeper = Keeper(Journal(opened.journal, server) if opened and opened.journal else None)
        api = Api(self.http.bearing(credential), self._version, **self._place)
        account = Account(api, keeper, Changes(api, keeper, self._turns), anyio.CancelScope())
        if opened:
            opened.context.copy().run(opened.tasks.start_soon, _check, account)
        return account

    def _end(self, account: Account) -> None:
        account.keeper.close()
        account.checking.cancel()


async def _check(account: Account) -> None:
    with account.checking:
        await account.keeper.run(account.changes.check)


def _digest(*parts: str) -> str:
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()
