"""Harnesses for opencode: a fake, and a real server."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.opencode.backend import OpencodeBackend
from mcp_sessions.backends.opencode.local_backend import LocalOpencodeReader
from mcp_sessions.backends.registry import open_backend

from ..support.fakes.opencode import FakeOpencode, seeded
from ..support.opencode_database import create, insert
from ..support.servers import opencode_process
from .harness import Harness, Seed

_NO_USERS = "opencode has no users: a caller that is limited to one is refused"
_NO_TYPES_OR_STATE = "opencode's sessions have no type, user or state"
NO_SUMMARY = "opencode keeps no summary"
_USERS_ONLY = "opencode accepts only messages of the user"
_DEVIATIONS = {
    **dict.fromkeys(
        (
            "test_a_session_of_another_user_is_not_found",
            "test_an_archived_session_of_another_user_is_not_found",
            "test_a_deleted_session_of_another_user_is_not_found",
            "test_bulk_actions_do_not_change_sessions_of_other_users",
            "test_messages_and_runs_of_another_users_session_are_not_found",
            "test_completion_offers_no_ids_of_other_users",
            "test_users_list_only_their_own_archived_sessions",
            "test_users_list_and_count_only_their_own_sessions",
            "test_users_search_only_their_own_sessions",
            "test_a_cursor_of_another_caller_shows_none_of_that_callers_sessions",
            "test_answers_do_not_change_when_other_users_create_sessions",
            "test_every_tool_works_on_a_callers_own_session",
            "test_a_created_session_belongs_to_the_caller",
            "test_a_fork_belongs_to_the_user_of_its_source",
        ),
        _NO_USERS,
    ),
    **dict.fromkeys(
        (
            "test_a_listed_session_has_its_name_type_and_agent",
            "test_a_session_has_all_of_its_fields",
            "test_a_list_can_be_filtered_by_type_and_agent",
            "test_a_restored_session_is_active_and_complete",
            "test_a_created_session_has_the_values_it_was_created_with",
            "test_a_new_session_without_a_name_can_be_named[team]",
            "test_a_new_session_without_a_name_can_be_named[workflow]",
            "test_a_fork_copies_the_session_and_changes_independently",
        ),
        _NO_TYPES_OR_STATE,
    ),
    **dict.fromkeys(
        (
            "test_a_summary_can_be_set_and_replaced",
            "test_the_fields_named_in_clear_are_cleared",
            "test_clearing_comes_before_setting",
        ),
        NO_SUMMARY,
    ),
    "test_appended_messages_follow_the_others_in_order": _USERS_ONLY,
}


class OpencodeHarness(Harness):
    """What the fake and the real server have in common."""

    capabilities = OpencodeBackend.capabilities
    absent_id = "ses_zzzzzzzz"
    deviations: ClassVar = _DEVIATIONS


class FakeOpencodeHarness(OpencodeHarness):
    """A new fake server for each test."""

    name = "opencode-fake"

    def __init__(self) -> None:
        self.fake = FakeOpencode(password="secret")

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder:
            async with (
                self.fake,
                open_backend(f"opencode+{self.fake.origin}", token="secret", data_folder=folder) as backend,
            ):
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return self.fake.add(*map(seeded, seeds))


class RealOpencodeHarness(OpencodeHarness):
    """A real server, emptied before each test. Sessions are written into its database."""

    version: ClassVar[str]

    def __init__(self) -> None:
        self._server = opencode_process.running(self.version)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        self._server.clear()
        with TemporaryDirectory() as folder:
            async with open_backend(
                self._server.backend_url, token=self._server.password, data_folder=folder
            ) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        # The server fails on a folder that can't be one of this machine.
        known = [replace(seed, project="") if "\\" in seed.project else seed for seed in seeds]
        return self._server.seed(*map(seeded, known))


class RealOpencodeNewest(RealOpencodeHarness):
    name = "opencode-1.18.33"
    version = "1.18.33"


class RealOpencodeOldest(RealOpencodeHarness):
    """The oldest version that keeps metadata."""

    name = "opencode-1.15.13"
    version = "1.15.13"
    is_variant = True
    modules = frozenset({"test_authoring", "test_changes", "test_get", "test_history", "test_list", "test_state"})


class OpencodeDatabaseHarness(OpencodeHarness):
    """A new database for each test, with a connection that keeps its write-ahead log, as a running opencode does."""

    name = "opencode-database"
    capabilities = LocalOpencodeReader.capabilities

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder, closing(create(Path(folder) / "opencode.db")) as self._connection:
            async with open_backend(f"opencode://{folder}") as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        assert self._connection is not None
        with self._connection:
            return insert(self._connection, *map(seeded, seeds))


REAL: tuple[type[Harness], ...] = (RealOpencodeNewest, RealOpencodeOldest) if opencode_process.are_installed() else ()
"""The harnesses that can run on this machine."""
