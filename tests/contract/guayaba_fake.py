"""Harnesses for the fake Guayaba: one agent's key and a master key over several users' agents, in two readings."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import ClassVar

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    NewMessage,
)

from ..support.fakes.guayaba import READINGS, FakeGuayaba, Reading, seeds
from ..support.fakes.guayaba.store import Agent
from .harness import Harness, Seed

_NO_USERS = "of one agent, Guayaba doesn't tell whose a session is: a caller that is narrowed to a user is refused"
_NO_CREATION = "Guayaba doesn't tell when a session was created: that order is refused"
_AGENTS_ARE_CONTAINERS = "an agent's id is that of its container, a session has no type, user, state and metadata"
_ARCHIVED_ARE_CLOSED = "Guayaba shows no messages of archived sessions"
_UNNARROWED = dict.fromkeys(
    (
        "test_a_session_of_another_user_is_not_found",
        "test_an_archived_session_of_another_user_is_not_found",
        "test_a_deleted_session_of_another_user_is_not_found",
        "test_bulk_actions_do_not_change_sessions_of_other_users",
        "test_messages_and_runs_of_another_users_session_are_not_found",
        "test_completion_offers_no_ids_of_other_users",
        "test_users_list_only_their_own_archived_sessions",
        "test_users_search_only_their_own_sessions",
        "test_a_cursor_of_another_caller_shows_none_of_that_callers_sessions",
        "test_answers_do_not_change_when_other_users_create_sessions",
        "test_every_tool_works_on_a_callers_own_session",
    ),
    _NO_USERS,
)
_DEVIATIONS = {
    **{
        f"{test}[{order}]": _NO_CREATION
        for test in (
            "test_sessions_are_sorted_in_the_requested_order",
            "test_a_list_has_each_session_once_even_if_many_have_the_same_time",
            "test_a_list_has_each_session_once_while_others_are_created",
        )
        for order in ("created_desc", "created_asc")
    },
    "test_a_cursor_of_a_list_with_other_arguments_is_refused[other1]": _NO_CREATION,
    **dict.fromkeys(
        (
            "test_a_listed_session_has_its_name_type_and_agent",
            "test_a_session_has_all_of_its_fields",
            "test_a_list_can_be_filtered_by_type_and_agent",
            "test_a_filtered_list_has_each_match_once",
            "test_a_restored_session_is_active_and_complete",
            "test_users_list_and_count_only_their_own_sessions",
        ),
        _AGENTS_ARE_CONTAINERS,
    ),
    "test_archiving_twice_changes_nothing_and_says_so": _ARCHIVED_ARE_CLOSED,
    "test_archived_sessions_are_found": _ARCHIVED_ARE_CLOSED,
}
_ABSENT = "agent:main:api:zzzzzzzz"
_USERS: Sequence[str] = ("ann", "ben", "Ann", "an*", '"', "owner", "ann OR ben")
"""The users with an agent of their own: those in tests that a Guayaba of several users passes."""


class GuayabaDefault(Harness):
    """A new agent for each test."""

    name = "guayaba"
    capabilities = frozenset(
        {
            Capability.LIST_SESSIONS,
            Capability.GET_SESSION,
            Capability.GET_SESSION_HISTORY,
            Capability.SEARCH_SESSIONS,
            Capability.RENAME_SESSION,
            Capability.ARCHIVE_SESSION,
            Capability.RESTORE_SESSION,
            Capability.DELETE_SESSION,
            Capability.APPLY_TO_SESSIONS,
        }
    )
    absent_id = _ABSENT
    deviations: ClassVar = _DEVIATIONS | _UNNARROWED
    reading: ClassVar[Reading] = READINGS["default"]

    def __init__(self) -> None:
        self.fake = FakeGuayaba(self.reading)
        self._agents = self.fake.agents[:1]
        self._numbers = count()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        agent = self._agents[0]
        async with self.fake:
            url = f"guayaba+{self.fake.url}?agent={agent.id}"
            async with open_backend(url, token=self.fake.agent_key(agent)) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return [self._id(agent, self._add(agent, seed)) for seed, agent in self._placed(seeds)]

    def _placed(self, seeds: Sequence[Seed]) -> list[tuple[Seed, Agent]]:
        return [(seed, self._agents[next(self._numbers) % len(self._agents)]) for seed in seeds]

    def _id(self, agent: Agent, key: str) -> str:
        return key

    def _add(self, agent: Agent, seed: Seed) -> str:
        """Leave out what Guayaba can't store: type, user, component, state and metadata."""
        moment = seed.moment or datetime.now(UTC)
        session_id = self.fake.new_id()
        row = seeds.row(
            f"agent:main:api:{session_id[:8]}",
            session_id,
            label=seed.name or None,
            updatedAt=round(moment.timestamp() * 1000),
        )
        messages = [message for run in seed.runs for message in run]
        transcript = [_stored(messages, place, moment) for place in range(len(messages))]
        if seed.archived:
            self.fake.add_archive(agent, row, transcript, moment=moment)
        else:
            self.fake.add_session(agent, row, transcript)
        return row["key"]


class GuayabaOther(GuayabaDefault):
    """The second reading: everything that Guayaba's documentation leaves open is read the other way."""

    name = "guayaba-other"
    is_variant = True
    reading = READINGS["other"]


class GuayabaMaster(GuayabaDefault):
    """Each user has one agent; other sessions go to three others in turn. A page lists four agents."""

    name = "guayaba-master"
    is_variant = True
    reading = replace(READINGS["default"], most_agents=4)
    absent_id = f"{FakeGuayaba().agents[0].id}/{_ABSENT}"
    """An id of the first user's agent, which has sessions."""
    deviations: ClassVar = _DEVIATIONS

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeGuayaba(self.reading, agents=len(_USERS) + 3)
        self._agents = self.fake.agents[len(_USERS) :]
        self._of = dict(zip(_USERS, self.fake.agents, strict=False))

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        agents = {user: [agent.id] for user, agent in self._of.items()}
        async with self.fake:
            url = f"guayaba+{self.fake.url}"
            async with open_backend(url, token=self.fake.master_key, agents=agents) as backend:
                yield backend

    def _placed(self, seeds: Sequence[Seed]) -> list[tuple[Seed, Agent]]:
        placed = super()._placed(seeds)
        return [(seed, self._of.get(seed.user_id, agent)) for seed, agent in placed]

    def _id(self, agent: Agent, key: str) -> str:
        return f"{agent.id}/{key}"


class GuayabaMasterOther(GuayabaMaster):
    """The same in the second reading, which makes a difference where the lists of several agents are merged."""

    name = "guayaba-master-other"
    is_variant = True
    modules = frozenset({"test_list", "test_paging"})
    reading = replace(READINGS["other"], most_agents=2)


def _stored(messages: Sequence[NewMessage], place: int, moment: datetime) -> JsonObject:
    """Return a message as OpenClaw stores it, one second before the next one."""
    message = messages[place]
    time = moment - timedelta(seconds=len(messages) - place)
    fields: JsonObject = {"id": f"{place:08x}", "timestamp": round(time.timestamp() * 1000)}
    said = [seeds.text(message.text)] if message.text else []
    if message.role == "tool":
        return seeds.tool_result(_call_id(messages, place), message.tool_name, message.text, **fields)
    if message.role == "assistant":
        calls = [seeds.tool_call(call.id, call.name, json.loads(call.arguments or "{}")) for call in message.tool_calls]
        return seeds.assistant(*said, *calls, **fields)
    images = [seeds.linked_image(each.url, each.media_type) for each in message.attachments]
    return seeds.user([*said, *images] if images else message.text, **fields) | {"role": message.role}


def _call_id(messages: Sequence[NewMessage], place: int) -> str:
    """Return the id of the tool's last call before its result."""
    name = messages[place].tool_name
    calls = [call.id for message in messages[:place] for call in message.tool_calls if call.name == name]
    return calls[-1] if calls else "unknown"
