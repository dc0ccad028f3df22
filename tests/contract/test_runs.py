"""The runs of a session with their input and output."""

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import NotFound

from .harness import Seed, System
from .samples import WEATHER, exchanges

owed = pytest.mark.owes(Capability.GET_SESSION_RUNS)


@owed
async def test_an_empty_session_has_no_runs(system: System) -> None:
    session_id = await system.seed_one(Seed())
    page = await system.backend.get_session_runs(session_id)
    assert (page.session_id, page.runs, page.next_cursor) == (session_id, (), "")


@owed
async def test_runs_are_listed_newest_first_with_their_input_and_output(system: System) -> None:
    session_id = await system.seed_one(Seed(agent_id="planner", runs=WEATHER))
    newest, oldest = (await system.backend.get_session_runs(session_id)).runs
    assert (oldest.input, oldest.output) == ("What is the weather in Rome?", "It is 22 degrees in Rome.")
    assert (newest.input, newest.output) == ("And here?", "That is Oslo: four degrees.")
    assert (oldest.tool_calls, newest.tool_calls) in ((1, 0), (None, None))
    assert oldest.agent_id == newest.agent_id == "planner"


@owed
async def test_a_page_has_at_most_limit_runs(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=exchanges(5)))
    page = await system.backend.get_session_runs(session_id, limit=2)
    assert [run.input for run in page.runs] == ["question 5", "question 4"]
    assert page.next_cursor


@owed
async def test_a_run_is_found_by_its_id(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))
    for run in (await system.backend.get_session_runs(session_id)).runs:
        page = await system.backend.get_session_runs(session_id, run_id=run.id)
        assert [(found.id, found.input, found.output) for found in page.runs] == [(run.id, run.input, run.output)]
        assert page.next_cursor == ""


@owed
async def test_an_unknown_run_is_not_found(system: System) -> None:
    session_id = await system.seed_one(Seed(runs=WEATHER))

    async def assert_is_not_found(run_id: str) -> None:
        with pytest.raises(NotFound, match="run"):
            await system.backend.get_session_runs(session_id, run_id=run_id)

    for run_id in ("r999", "r0", "r-1", "r", "999", "..", "r1\0", "r1'", "\ud800", "r" + "9" * 400):
        await assert_is_not_found(run_id)


@owed
async def test_a_run_of_another_session_is_not_found(system: System) -> None:
    empty, full = await system.seed(Seed(), Seed(runs=WEATHER))
    run = (await system.backend.get_session_runs(full)).runs[0]
    with pytest.raises(NotFound, match="run"):
        await system.backend.get_session_runs(empty, run_id=run.id)
