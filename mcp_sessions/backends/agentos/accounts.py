"""Accounts: an API client, rechecker and session writer for each credential."""

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
from ..health import CheckResult, Report
from ..http.client import HttpClient
from ..http.credentials import Credential, CredentialCache
from ..session_locks import SessionLocks
from .agno_before_2_6_7 import ApiOfAnyVersion, fetch_any_version
from .api import Api
from .recheck.journal import Journal, journal_problem, open_journal
from .recheck.rechecker import Rechecker
from .recheck.writer import SessionWriter
from .versions import VersionCache


class Account(NamedTuple):
    """The API, rechecker and session writer of one credential. `recheck_scope` cancels the rechecker's task."""

    api: Api
    rechecker: Rechecker
    writer: SessionWriter
    recheck_scope: anyio.CancelScope


class _OpenState(NamedTuple):
    tasks: TaskGroup
    context: Context
    """The context in which the backend was opened. Rechecks run in it because they belong to no call."""
    journal: sqlite3.Connection | None


class Accounts:
    """The accounts on one AgentOS, database and table. They share connections, the server's version and locks.

    `folder` is for the locks and, if `recheck` is set, the journal of pending writes.
    """

    def __init__(self, http: HttpClient, *, db_id: str, table: str, folder: Path, recheck: bool) -> None:
        self.http = http
        self._database = {"db_id": db_id, "table": table}
        self._folder = folder
        self._recheck = recheck
        self._server = _digest(http.address.replace("//localhost", "//127.0.0.1"), db_id, table)
        self._version = VersionCache(fetch_any_version)
        self._locks = SessionLocks(FileLocks(folder / "locks"), self._server)
        self._cache = CredentialCache(
            self._create, close=self._close, is_idle=lambda account: not account.rechecker.has_pending_writes()
        )
        self._open_state: _OpenState | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TaskGroup]:
        """Open the connections, locks and journal, and yield a task group that ends when they are closed."""
        async with self.http:
            self._locks.open()
            journal = open_journal(self._folder) if self._recheck else None
            try:
                async with anyio.create_task_group() as tasks:
                    self._open_state = _OpenState(tasks, copy_context(), journal)
                    try:
                        yield tasks
                    finally:
                        tasks.cancel_scope.cancel()
            finally:
                self._open_state = None
                self._cache.close()
                if journal is not None:
                    journal.close()

    def report_folder(self, report: Report) -> None:
        """Report a warning, with the text that `open` logs, if the locks or the journal can't be written."""
        problems = {"locks": self._locks.problem(), "journal": journal_problem(self._folder) if self._recheck else ""}
        for name, problem in problems.items():
            if problem:
                text = f"{problem}. Let this user write to {self._folder}"
                report(CheckResult(name, text, "warning", read_only_text=problem))

    def get(self, credential: Credential) -> Account:
        """Return the account of this credential. While `open` runs, accounts are cached and their writes rechecked."""
        return self._cache.get(credential) if self._open_state else self._create(credential)

    def _create(self, credential: Credential) -> Account:
        state = None if credential.is_missing else self._open_state
        # Other credentials may have no access to the session: recheck a write with the credential that made it.
        server = _digest(self._server, credential.token)
        rechecker = Rechecker(Journal(state.journal, server) if state and state.journal else None)
        api = ApiOfAnyVersion(self.http.with_credential(credential), self._version, **self._database)
        account = Account(api, rechecker, SessionWriter(api, rechecker, self._locks), anyio.CancelScope())
        if state:
            state.context.copy().run(state.tasks.start_soon, _run_rechecker, account)
        return account

    def _close(self, account: Account) -> None:
        account.rechecker.close()
        account.recheck_scope.cancel()


async def _run_rechecker(account: Account) -> None:
    with account.recheck_scope:
        await account.rechecker.run(account.writer.recheck)


def _digest(*parts: str) -> str:
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()
