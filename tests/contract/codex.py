"""The harness for Codex's threads: a home with files and a database in the shape that Codex writes."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.registry import open_backend

from ..support.codex_client import installed_codex, is_installed
from ..support.codex_rollouts import PROJECT, Rollout, conversation, name_in_index, record
from ..support.fakes.codex import fake_codex
from .harness import Harness, Seed

_OF_ONE_PERSON = "the home belongs to one person, so a caller that is limited to a user is refused"
_NO_AGENTS = "a thread of Codex has no agent, user and state, and its type is always agent"


class CodexHarness(Harness):
    """A new home for each test, with paginated threads, whose names and times are in the database."""

    name = "codex"
    capabilities = frozenset(
        {
            Capability.LIST_SESSIONS,
            Capability.GET_SESSION,
            Capability.SEARCH_SESSIONS,
            Capability.GET_SESSION_HISTORY,
            Capability.GET_SESSION_RUNS,
        }
    )
    absent_id = "ffffffff-ffff-4fff-8fff-ffffffffffff"
    is_legacy: ClassVar[bool] = False
    path: ClassVar[str] = ""
    """The PATH on which the backend looks for codex, by default one without it."""
    deviations: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            (
                "test_a_session_of_another_user_is_not_found",
                "test_messages_and_runs_of_another_users_session_are_not_found",
                "test_completion_offers_no_ids_of_other_users",
                "test_users_list_and_count_only_their_own_sessions",
                "test_users_search_only_their_own_sessions",
                "test_a_cursor_of_another_caller_shows_none_of_that_callers_sessions",
                "test_answers_do_not_change_when_other_users_create_sessions",
                "test_every_tool_works_on_a_callers_own_session",
            ),
            _OF_ONE_PERSON,
        ),
        **dict.fromkeys(
            (
                "test_a_listed_session_has_its_name_type_and_agent",
                "test_a_session_has_all_of_its_fields",
                "test_a_list_can_be_filtered_by_type_and_agent",
                "test_a_filtered_list_has_each_match_once",
                "test_runs_are_listed_newest_first_with_their_input_and_output",
            ),
            _NO_AGENTS,
        ),
    }

    def __init__(self) -> None:
        self._home = Path()
        self._seeded = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder, TemporaryDirectory() as bin, pytest.MonkeyPatch.context() as patch:
            self._home = Path(folder)
            patch.setenv("PATH", self.path or bin)
            async with open_backend(f"codex://{folder}", **self.options(Path(bin))) as backend:
                yield backend

    def options(self, folder: Path) -> Mapping[str, Any]:
        """Return the options of the backend. A program for it can be written to `folder`."""
        return {}

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return [self._write(seed) for seed in seeds]

    def _write(self, seed: Seed) -> str:
        self._seeded += 1
        moment = seed.moment or datetime.now(UTC)
        cwd = seed.project or PROJECT
        rollout = conversation(seed.runs, moment, legacy=self.is_legacy, number=self._seeded, cwd=cwd)
        path = rollout.write(self._home, archived=seed.archived)
        self._record(rollout, path, seed.name, moment)
        return rollout.id

    def _record(self, rollout: Rollout, path: Path, name: str, moment: datetime) -> None:
        """Write what Codex keeps of a thread beside its file."""
        if not self.is_legacy:
            time = round(moment.timestamp() * 1000)
            record(self._home, rollout, path, name=name or None, created_at_ms=time, updated_at_ms=time)
        elif name:
            name_in_index(self._home, rollout.id, name)


class LegacyCodexHarness(CodexHarness):
    """A home without a database, with legacy threads, whose names are in the index."""

    name = "codex-legacy"
    is_variant = True
    is_legacy = True


class WritingCodexHarness(CodexHarness):
    """The same with an app-server that makes changes, in the modules on changes."""

    name = "codex-app-server"
    modules = frozenset({"test_suite", "test_changes", "test_authoring", "test_bulk"})
    capabilities = CodexHarness.capabilities | {
        Capability.RENAME_SESSION,
        Capability.ARCHIVE_SESSION,
        Capability.RESTORE_SESSION,
        Capability.DELETE_SESSION,
        Capability.APPLY_TO_SESSIONS,
        Capability.FORK_SESSION,
    }
    deviations: ClassVar = {
        **CodexHarness.deviations,
        "test_a_restored_session_is_active_and_complete": "Codex has no state and metadata",
        "test_a_fork_copies_the_session_and_changes_independently": "Codex has no agent, user, state and metadata",
        "test_a_fork_can_end_at_a_message_and_get_a_name": "Codex forks after a whole turn, not after its prompt",
    }

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"command": str(fake_codex(folder))}


class WritingLegacyCodexHarness(WritingCodexHarness):
    """The same with legacy threads."""

    name = "codex-legacy-app-server"
    is_variant = True
    is_legacy = True


class RealCodexHarness(WritingCodexHarness):
    """The real Codex, in the modules in which it can differ from the fake. Names are given by Codex itself."""

    name = "codex-real"
    modules = frozenset({"test_changes"})
    path = os.environ["PATH"]

    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"command": str(installed_codex())}

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        ids: list[str] = []
        for seed in seeds:
            ids.append(self._write(replace(seed, archived=False)))
            if seed.name:
                await backend.rename_session(ids[-1], seed.name)
            if seed.archived:
                await backend.archive_session(ids[-1])
        return ids

    def _record(self, rollout: Rollout, path: Path, name: str, moment: datetime) -> None:
        """Record nothing: only Codex may write its database."""


CODEX: tuple[type[Harness], ...] = (
    CodexHarness,
    LegacyCodexHarness,
    WritingCodexHarness,
    WritingLegacyCodexHarness,
    *((RealCodexHarness,) if is_installed() else ()),
)
