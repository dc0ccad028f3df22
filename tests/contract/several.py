"""Harnesses for several backends as one. Their sessions are seeded in turn, the first one in a backend with a name."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import ClassVar, Self

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.many.ids import IdConverter
from mcp_sessions.backends.layers.wrapper import Wrapper

from .agentos_fake import FakeAgentOs3
from .custom import JsonFolderHarness
from .embedded import SqliteHarness
from .guayaba_fake import GuayabaMaster
from .harness import Harness, Seed


class Opened(Wrapper):
    """A backend that its own harness enters and leaves."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ManyHarness(Harness):
    """The systems of other harnesses, by the names of their backends."""

    of: ClassVar[dict[str, type[Harness]]]

    def __init__(self) -> None:
        self._harnesses = {name: harness() for name, harness in self.of.items()}
        self._backends: dict[str, SessionBackend] = {}
        self._ids = IdConverter(self.of)
        self._seeded = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        async with AsyncExitStack() as stack:
            for name, harness in self._harnesses.items():
                self._backends[name] = await stack.enter_async_context(harness.open())
            yield await stack.enter_async_context(
                Many({name: Opened(backend) for name, backend in self._backends.items()})
            )

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        ids: list[str] = []
        for seed in seeds:
            name = list(self._harnesses)[self._seeded % len(self._harnesses)]
            if seed.user_id == "ben":  # the user whose sessions are compared with `absent_id`, which one backend lacks
                name = self._ids.address(self.absent_id).name
            self._seeded += 1
            (own_id,) = await self._harnesses[name].seed(self._backends[name], [seed])
            ids.append(self._ids.full_id(name, own_id))
        return ids


class ManySqlite(ManyHarness):
    """Two stores, one of them without a name."""

    name = "many-sqlite"
    of: ClassVar = {"work": SqliteHarness, "": SqliteHarness}
    capabilities = SqliteHarness.capabilities
    absent_id = "work/zzzzzzzz"


_NO_APPENDING = "AgentOS can't append messages: for its sessions, the operation is refused"
_NO_CREATION_TIMES = (
    "Guayaba doesn't tell when a session was created: its sessions are left out of that order, with a note"
)


class ManyWithAgentOs(ManyHarness):
    """Two systems of which one refuses an operation, in the modules on what one of them answers."""

    name = "many-sqlite-agentos-fake"
    is_variant = True
    modules = frozenset(
        {
            "test_suite",
            "test_get",
            "test_history",
            "test_runs",
            "test_state",
            "test_changes",
            "test_bulk",
            "test_authoring",
            "test_scoping",
        }
    )
    of: ClassVar = {"agno": FakeAgentOs3, "": SqliteHarness}
    capabilities = frozenset(Capability)
    absent_id = "agno/zzzzzzzz"
    deviations: ClassVar = {
        **FakeAgentOs3.deviations,
        **dict.fromkeys(
            (
                "test_a_declared_operation_works[append_messages]",
                "test_an_unknown_session_is_not_found[append_messages]",
                "test_a_session_of_another_user_is_not_found[append_messages]",
                "test_an_archived_session_of_another_user_is_not_found[append_messages]",
                "test_a_deleted_session_of_another_user_is_not_found",
                "test_a_caller_limited_to_a_user_can_do_everything_with_its_own_sessions",
                "test_appended_messages_follow_the_others_in_order",
                "test_either_all_messages_are_appended_or_none",
                "test_messages_of_the_roles_that_a_backend_names_can_be_appended_and_no_others",
                "test_appending_to_a_fork_does_not_change_its_source",
            ),
            _NO_APPENDING,
        ),
    }


class ManyWithGuayaba(ManyHarness):
    """Three systems, in the modules on what is merged: for the rest, two are enough."""

    name = "many-sqlite-guayaba-fake-custom"
    is_variant = True
    modules = frozenset({"test_list", "test_paging", "test_cursors", "test_search", "test_feeds", "test_other_users"})
    of: ClassVar = {"": SqliteHarness, "guayaba": GuayabaMaster, "folder": JsonFolderHarness}
    capabilities = frozenset(Capability)
    deviations: ClassVar = {
        **{
            f"{test}[{order}]": _NO_CREATION_TIMES
            for test in (
                "test_sessions_are_sorted_in_the_requested_order",
                "test_a_list_has_each_session_once_even_if_many_have_the_same_time",
                "test_a_list_has_each_session_once_while_others_are_created",
            )
            for order in ("created_desc", "created_asc")
        },
        "test_a_filtered_list_has_each_match_once": "in Guayaba, an agent's id is that of its container",
        **dict.fromkeys(
            (
                "test_a_search_has_each_hit_once",
                "test_phrases_and_symbols_are_found_as_typed",
                "test_a_search_can_be_limited_to_a_project",
            ),
            "the folder can't be searched, and a note says so",
        ),
        "test_a_cursor_of_the_runs_of_another_session_is_refused": "Guayaba keeps no runs",
    }


SEVERAL: tuple[type[Harness], ...] = (ManySqlite, ManyWithAgentOs, ManyWithGuayaba)
