"""The harness for Claude Code's sessions: a folder with transcripts in the shape that Claude Code writes."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.registry import open_backend

from ..support.claude_transcripts import PROJECT, conversation
from .harness import Harness, Seed

_OF_ONE_PERSON = "the folder belongs to one person, so a caller that is limited to a user is refused"
_NO_AGENTS = "a session of Claude Code has no type, agent, user and state"


class ClaudeCodeHarness(Harness):
    """A new folder for each test."""

    name = "claude-code"
    capabilities = frozenset(
        {
            Capability.LIST_SESSIONS,
            Capability.GET_SESSION,
            Capability.SEARCH_SESSIONS,
            Capability.GET_SESSION_HISTORY,
            Capability.GET_SESSION_RUNS,
            Capability.RENAME_SESSION,
            Capability.APPEND_MESSAGES,
            Capability.FORK_SESSION,
            Capability.DELETE_SESSION,
            Capability.RESTORE_SESSION,
        }
    )
    absent_id = "ffffffff-ffff-4fff-8fff-ffffffffffff"
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
                "test_a_fork_belongs_to_the_user_of_its_source",
                "test_a_deleted_session_of_another_user_is_not_found",
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
                "test_a_fork_copies_the_session_and_changes_independently",
            ),
            _NO_AGENTS,
        ),
    }

    def __init__(self) -> None:
        self._root = Path()
        self._seeded = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder, TemporaryDirectory() as data:
            self._root = Path(folder)
            async with open_backend(f"claude-code://{folder}", data_folder=data) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return [self._write(seed) for seed in seeds]

    def _write(self, seed: Seed) -> str:
        self._seeded += 1
        moment = seed.moment or datetime.now(UTC)
        transcript = conversation(seed.runs, moment, name=seed.name, number=self._seeded, cwd=seed.project or PROJECT)
        transcript.write(self._root, moment)
        return transcript.id
