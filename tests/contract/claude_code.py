"""The harness for Claude Code's sessions: a folder with transcripts in the shape that Claude Code writes."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.registry import open_backend

from ..support.claude_transcripts import conversation
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
                "test_anothers_session_answers_as_one_that_does_not_exist",
                "test_nothing_inside_anothers_session_can_be_addressed",
                "test_nobody_elses_id_is_completed",
                "test_users_list_and_count_their_own_sessions_only",
                "test_users_search_their_own_sessions_only",
                "test_a_cursor_of_another_caller_shows_nothing_of_theirs",
                "test_nothing_says_more_once_others_have_sessions",
                "test_a_callers_own_session_answers_everywhere",
                "test_a_fork_belongs_to_whom_its_source_belongs",
                "test_anothers_deleted_session_answers_as_one_that_does_not_exist",
            ),
            _OF_ONE_PERSON,
        ),
        **dict.fromkeys(
            (
                "test_a_listed_session_says_what_it_is",
                "test_a_session_is_told_whole",
                "test_type_and_agent_select",
                "test_a_filtered_list_has_each_match_once",
                "test_runs_come_newest_first_with_what_came_in_and_went_out",
                "test_a_fork_has_what_the_session_had_and_a_life_of_its_own",
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
        transcript = conversation(seed.runs, moment, name=seed.name, number=self._seeded)
        transcript.write(self._root, moment)
        return transcript.id
