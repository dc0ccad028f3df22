"""Subagents are runs of their session, and sessions that can be read by themselves."""

import pytest

from mcp_sessions.errors import NotFound

from ...contract.walks import all_runs
from .folders import FIXTURES, listed, messages_of, opened

CONFIG = FIXTURES / "config"
BACKGROUND = "93c83ab1-4731-438e-893d-8eaa5e8994c6"
OTHER = "0d9b0945-b202-41bd-8614-9c9a88a4230d"
BESIDE = "b878dc60-1d95-4e2b-be32-fb0ecfc2e042"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_the_runs_of_subagents_stand_between_those_of_their_session(limit: int) -> None:
    async with opened(CONFIG) as backend:
        runs = await all_runs(backend, BACKGROUND, limit)
    agents = [f"{BACKGROUND}/agent-a0579ce19fbd1c4dd", f"{BACKGROUND}/agent-a87cded01bb0d115b"]
    prompt = runs[-1]
    assert [run.id for run in runs] == [*agents, prompt.id]
    assert [(run.parent_run_id, run.agent_id) for run in runs[:2]] == [(prompt.id, "general-purpose")] * 2
    assert {run.input for run in runs[:2]} == {"SUBPROMPT do the thing STUB_TOOLS"}
    assert prompt.input == "shared STUB_AGENT please"
    assert all(run.output and run.total_tokens and run.status == "completed" for run in runs)


async def test_a_subagent_is_a_session_with_the_session_as_its_parent() -> None:
    async with opened(CONFIG) as backend:
        for session_id in (BACKGROUND, BESIDE):
            run = next(run for run in (await backend.get_session_runs(session_id)).runs if "/" in run.id)
            session = await backend.get_session(run.id)
            assert (session.id, session.parent_id, session.resume_command) == (run.id, session_id, "")
            messages = await messages_of(backend, run.id)
            assert (messages[0].text, messages[-1].text) == (run.input, run.output)
            assert "tool" in {message.role for message in messages}
            assert (await backend.get_session_runs(run.id, run_id=messages[0].id)).runs[0].output == run.output
        assert not [row for row in await listed(backend) if "/" in row.id]


async def test_a_subagent_is_not_found_in_another_session() -> None:
    async with opened(CONFIG) as backend:
        for agent in ("agent-a2388ff", "agent-afa4264", "agent-a0579ce19fbd1c4dd", "agent-none"):
            with pytest.raises(NotFound):
                await backend.get_session(f"{OTHER}/{agent}")
