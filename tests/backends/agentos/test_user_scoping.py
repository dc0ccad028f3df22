"""Callers limited to a user, on an AgentOS that shows all users' sessions: no foreign session is shown or changed."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound, SessionsError
from mcp_sessions.models import HistoryQuery, SessionFilter

from ...support.faked_agentos import CarelessAgentOs, on, on_each_fake, session, writes
from ...support.fakes.agentos import Version

Operation = Callable[[SessionBackend, str], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "get": lambda backend, it: backend.get_session(it),
    "get for deletion": lambda backend, it: backend.get_session_for_deletion(it),
    "history": lambda backend, it: backend.get_session_history(it),
    "runs": lambda backend, it: backend.get_session_runs(it),
    "rename": lambda backend, it: backend.rename_session(it, "taken"),
    "state": lambda backend, it: backend.update_session_state(it, {"taken": 1}),
    "metadata": lambda backend, it: backend.update_session(it, metadata={"taken": 1}),
    "archive": lambda backend, it: backend.archive_session(it),
    "restore": lambda backend, it: backend.restore_session(it, name="taken"),
    "delete": lambda backend, it: backend.delete_session(it),
    "fork": lambda backend, it: backend.fork_session(it),
}
OF_BEN = ("of ben", "of ben, archived", "of ben, a team", "of ben, a workflow", "of nobody")


@asynccontextmanager
async def careless(version: Version, folder: Path) -> AsyncGenerator[tuple[CarelessAgentOs, SessionBackend]]:
    """Yield the fake with sessions of two users, and the backend for Ann."""
    archived = {"archived_at": "2024-01-01T00:00:00Z"}
    async with CarelessAgentOs(version) as fake, on(fake, folder) as backend:
        fake.seed(
            *(session(f"of ann {number}", user_id="ann", created_at=1000 * number + 1) for number in range(1, 4)),
            session("of ann, archived", user_id="ann", metadata=archived),
            session("of ben", user_id="ben", name="ann's secret"),
            session("of ben, archived", user_id="ben", metadata=archived),
            session("of ben, a team", "team", user_id="ben"),
            session("of ben, a workflow", "workflow", user_id="ben"),
            session("of nobody"),
            *(session(f"of ben {number}", user_id="ben", created_at=1000 * number) for number in range(1, 40)),
        )
        yield fake, backend.for_caller(Caller(user_id="ann"))


@pytest.mark.parametrize("id", OF_BEN)
@pytest.mark.parametrize("name", OPERATIONS)
@on_each_fake
async def test_a_session_of_another_user_looks_like_an_unknown_one(
    version: Version, name: str, id: str, tmp_path: Path
) -> None:
    async with careless(version, tmp_path) as (fake, backend):
        before = fake.everything()
        told: list[str] = []
        for session_id in (id, "absent"):
            with pytest.raises(NotFound) as raised:
                await OPERATIONS[name](backend, session_id)
            told.append(raised.value.message.replace(session_id, "…"))
        assert told[0] == told[1]
        assert fake.everything() == before
        assert writes(fake.requests) == []
        assert not [request for request in fake.requests if "/runs" in request.path or "previews" in request.path]


@pytest.mark.parametrize("limit", [1, 2, 100])
@on_each_fake
async def test_a_list_has_and_counts_only_the_callers_sessions(version: Version, limit: int, tmp_path: Path) -> None:
    async with careless(version, tmp_path) as (_, backend):
        found, cursor = list[str](), ""
        while cursor or not found:
            page = await backend.list_sessions(SessionFilter(), limit=limit, cursor=cursor)
            found += [listed.id for listed in page.sessions]
            cursor = page.next_cursor
            assert page.total in (None, 3)
            assert page.note == ""
        assert found == ["of ann 3", "of ann 2", "of ann 1"]
        archived = await backend.list_sessions(SessionFilter(archived=True))
        assert [listed.id for listed in archived.sessions] == ["of ann, archived"]
        by_name = await backend.list_sessions(SessionFilter(query="secret"))
        assert by_name.sessions == ()
        for type in ("team", "workflow"):
            assert (await backend.list_sessions(SessionFilter(type=type))).sessions == ()


@on_each_fake
async def test_a_search_reads_and_counts_only_the_callers_sessions(version: Version, tmp_path: Path) -> None:
    async with careless(version, tmp_path) as (fake, backend):
        found = await backend.search_sessions("well", limit=50)
        assert {hit.session_id for hit in found.hits} == {"of ann 1", "of ann 2", "of ann 3", "of ann, archived"}
        assert (found.searched_sessions, found.complete) == (4, True)
        assert (await backend.search_sessions("secret")).hits == ()
        read = {request.path.split("/")[2] for request in fake.requests if request.path.endswith("/runs")}
        assert all(id.startswith("of ann") for id in read)


@on_each_fake
async def test_a_bulk_change_leaves_sessions_of_others_alone(version: Version, tmp_path: Path) -> None:
    async with careless(version, tmp_path) as (fake, backend):
        before = fake.everything()
        for action in ("archive", "restore", "delete"):
            dry = await backend.apply_to_sessions(action, OF_BEN)
            wet = await backend.apply_to_sessions(action, OF_BEN, dry_run=False)
            assert (dry.would_change, wet.succeeded, len(wet.failed)) == ((), (), len(OF_BEN))
        assert fake.everything() == before


@on_each_fake
async def test_a_pending_write_of_one_caller_is_never_applied_to_anothers_session(
    version: Version, tmp_path: Path
) -> None:
    async with careless(version, tmp_path) as (fake, backend):
        await backend.rename_session("of ann 1", "mine")
        made = await backend.create_session(name="new", agent_id="planner")
        assert fake.everything()[made.id]["user_id"] == "ann"
        with pytest.raises(SessionsError):
            await backend.get_session_history("of ben", HistoryQuery(message_id="any"))
        assert {id for id, row in fake.everything().items() if "mine" in str(row)} == {"of ann 1"}
