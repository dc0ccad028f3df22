"""`mcp-sessions copy` from systems other than the embedded store."""

import sys
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.session_content import MARK
from mcp_sessions.models import HistoryQuery, Session, SessionFilter

from ..support.copied_store import Ended, copy
from ..support.faked_agentos import SeenAgentOs, session
from ..support.faked_guayaba import KEY, OLD, seed
from ..support.fakes.agentos import Fault, Request
from ..support.fakes.guayaba import FakeGuayaba
from ..support.fakes.http import Response
from ..support.real_agentos import POISON, opened
from ..support.servers import agentos_process
from ..support.store_files import dump

HOSTILE = "天気 \u202e\x1b[31m <b>'\"; DROP TABLE sessions; --\n" * 3
SEEDS = [
    session(
        f"s{number}",
        name=f"Name {number}",
        state={"n": number},
        metadata={"kept": number} | ({"archived_at": "2026-01-02T03:04:05Z"} if number == 2 else {}),
        user_id="ann",
        created_at=1_714_564_800 + number,
    )
    for number in range(4)
]
SEEDS[1] |= {
    "summary": "summed up",
    "runs": [
        [
            {"role": "system", "text": "You are helpful."},
            {
                "role": "user",
                "text": HOSTILE,
                "attachments": [{"type": "image", "media_type": "image/png", "bytes": 9}],
            },
            {"role": "assistant", "tool_calls": [{"id": "c1", "name": "get_weather", "arguments": '{"city":"Rome"}'}]},
            {"role": "tool", "text": "22 degrees", "tool_name": "get_weather"},
            {"role": "assistant", "text": "It is 22 degrees."},
        ],
        [{"role": "user", "text": "And here?"}, {"role": "assistant", "text": "Four."}],
    ],
}


class AgentOsWithOutage(SeenAgentOs):
    """A fake AgentOS that answers 503 while it is down."""

    is_down = False

    def _answer(self, request: Request) -> Response:
        return Response(503) if self.is_down else super()._answer(request)


async def copied(source: str, target: Path) -> Ended:
    """Run the command in a process of its own, while the fake answers in this one."""
    return await anyio.to_thread.run_sync(copy, source, f"sqlite:///{target}")


async def sessions_in(path: Path, *, archived: bool = False) -> list[Session]:
    async with open_backend(f"sqlite:///{path}") as backend:
        return list((await backend.list_sessions(SessionFilter(archived=archived), limit=100)).sessions)


@pytest.mark.slow
async def test_an_agentos_can_be_copied_into_a_store(tmp_path: Path) -> None:
    async with SeenAgentOs() as fake:
        fake.seed(*SEEDS)
        before = fake.everything()
        done = await copied(f"agentos+{fake.url}", tmp_path / "b.db")
        again = await copied(f"agentos+{fake.url}?timeout=20", tmp_path / "b.db")
        rows = dump(tmp_path / "b.db")
        third = await copied(f"agentos+{fake.url}", tmp_path / "b.db")
        assert fake.everything() == before
    assert (done.status, done.err) == (0, "")
    first, absent, unread = done.out.splitlines()
    assert first == "4 sessions with 12 messages are the same in both."
    assert absent.startswith("Not copied, since the embedded store doesn't store it: ids of sessions (4); times of")
    assert unread == (
        "Not copied, since AgentOS doesn't return it: messages that its histories leave out, such as system prompts "
        "(1); data of attachments (1)."
    )
    assert third == again
    assert (again.status, again.out.splitlines()[0]) == (
        0,
        "4 sessions with 12 messages are the same in both; 4 of the sessions were there already.",
    )
    assert dump(tmp_path / "b.db") == rows
    assert [item.name for item in await sessions_in(tmp_path / "b.db")] == ["Name 3", "Name 1", "Name 0"]
    assert [item.name for item in await sessions_in(tmp_path / "b.db", archived=True)] == ["Name 2"]
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        (found,) = (await target.list_sessions(SessionFilter(query="Name 1"))).sessions
        detail = await target.get_session(found.id)
        history = await target.get_session_history(found.id, HistoryQuery(include_tools=True))
        runs = await target.get_session_runs(found.id)
    assert (detail.user_id, detail.agent_id, detail.state, detail.summary) == ("ann", "planner", {"n": 1}, "summed up")
    assert detail.metadata == {"kept": 1, MARK: {"source": f"agentos:{fake.url.removeprefix('http:')}", "id": "s1"}}
    assert [message.text for message in history.messages] == [
        HOSTILE,
        "",
        "22 degrees",
        "It is 22 degrees.",
        "And here?",
        "Four.",
    ]
    assert history.messages[1].tool_calls[0].name == "get_weather"
    assert history.messages[0].attachments[0].media_type == "image/png"
    assert [run.output for run in runs.runs] == ["Four.", "It is 22 degrees."]


@pytest.mark.slow
async def test_a_copy_that_is_killed_continues(tmp_path: Path) -> None:
    async with SeenAgentOs() as fake:
        fake.seed(*SEEDS)
        held = fake.fail_next(Fault("hold", path="/sessions/s3/runs"))
        arguments = ["copy", "--from", f"agentos+{fake.url}", "--to", f"sqlite:///{tmp_path}/b.db"]
        async with await anyio.open_process([sys.executable, "-m", "mcp_sessions", *arguments]) as process:
            with anyio.fail_after(60):
                await held.entered.wait()
            process.kill()
        held.released.set()
        kept = [*await sessions_in(tmp_path / "b.db"), *await sessions_in(tmp_path / "b.db", archived=True)]
        assert len(kept) == 3
        done = await copied(f"agentos+{fake.url}", tmp_path / "b.db")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("4 sessions with 12 messages are the same in both")
    assert "; 3 of the sessions were there already" in done.out


@pytest.mark.slow
async def test_a_copy_continues_after_its_source_failed_midway(tmp_path: Path) -> None:
    async with AgentOsWithOutage() as fake:
        fake.seed(*SEEDS)
        held = fake.fail_next(Fault("hold", path="/sessions/s3/runs"))
        done: list[Ended] = []

        async def run() -> None:
            done.append(await copied(f"agentos+{fake.url}?timeout=1", tmp_path / "b.db"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await held.entered.wait()
            fake.is_down = True
            held.released.set()
        assert (done[0].status, done[0].out) == (1, "")
        assert done[0].err.startswith("mcp-sessions: --from: AgentOS ")
        assert done[0].err.endswith(" Run the same command again to continue.\n")
        fake.is_down = False
        again = await copied(f"agentos+{fake.url}", tmp_path / "b.db")
    assert (again.status, again.err) == (0, "")
    assert "; 3 of the sessions were there already" in again.out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["answer", "hold"])
async def test_a_session_that_cannot_be_read_does_not_stop_the_copy(kind: str, tmp_path: Path) -> None:
    async with SeenAgentOs() as fake:
        fake.seed(*SEEDS)
        faults = [Fault("hold" if kind == "hold" else "answer", path="/sessions/s1/runs", status=500) for _ in range(9)]
        for fault in faults:
            fake.fail_next(fault)
        done = await copied(f"agentos+{fake.url}?timeout=2", tmp_path / "b.db")
        for fault in faults:
            fault.released.set()
        fake.faults.clear()
        again = await copied(f"agentos+{fake.url}", tmp_path / "b.db")
    assert done.status == 1
    assert done.out.startswith("3 sessions with 6 messages are the same in both")
    assert "mcp-sessions: not copied: s1. --from: AgentOS " in done.err
    assert done.err.endswith(" Run the same command again to continue.\n")
    assert (again.status, again.err) == (0, "")
    assert again.out.startswith("4 sessions with 12 messages are the same in both")


async def test_a_copy_that_was_changed_is_reported_and_left_unchanged(tmp_path: Path) -> None:
    async with SeenAgentOs() as fake:
        fake.seed(*SEEDS)
        await copied(f"agentos+{fake.url}", tmp_path / "b.db")
        async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
            (found,) = (await target.list_sessions(SessionFilter(query="Name 1"))).sessions
            await target.rename_session(found.id, "changed here")
        done = await copied(f"agentos+{fake.url}", tmp_path / "b.db")
    assert done.status == 1
    assert done.out.startswith("3 sessions with 6 messages are the same in both")
    assert done.err.startswith("mcp-sessions: not the same in both: s1 (name). They were changed in one of them since ")
    assert (await sessions_in(tmp_path / "b.db"))[0].name == "changed here"


async def test_a_guayaba_can_be_copied_except_its_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeGuayaba() as fake:
        agent = fake.agents[0]
        seed(fake, agent)
        monkeypatch.setenv("MCP_SESSIONS_TOKEN", fake.agent_key(agent))
        done = await copied(f"guayaba+{fake.url}?agent={agent.id}", tmp_path / "b.db")
        fake.access.keys.clear()
        refused = await copied(f"guayaba+{fake.url}?agent={agent.id}", tmp_path / "c.db")
    assert done.status == 1
    assert done.out.startswith("1 session with 1 message is the same in both. 1 of them has no ")
    assert ". --from: Guayaba shows no messages of an archived session. Use restore_session" in done.err
    assert OLD not in done.out
    (found,) = await sessions_in(tmp_path / "b.db")
    assert found.name == "Trip"
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        assert (await target.get_session(found.id)).metadata[MARK]["id"] == KEY
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("mcp-sessions: --from: ")
    assert not (tmp_path / "c.db").exists()


async def test_agents_that_do_not_answer_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeGuayaba() as fake:
        for agent in fake.agents:
            seed(fake, agent)
        fake.agents[0].status = "stopped"
        monkeypatch.setenv("MCP_SESSIONS_TOKEN", fake.master_key)
        done = await copied(f"guayaba+{fake.url}?timeout=4", tmp_path / "b.db")
    assert done.status == 1
    assert "mcp-sessions: the list of Guayaba is not complete: These agents did not answer" in done.err


if agentos_process.are_installed():  # else it is not there, rather than skipped

    async def test_a_real_agentos_can_be_copied_into_a_store(tmp_path: Path) -> None:
        async with opened("3.1.10", seeds=SEEDS) as case:
            dones = [await copied(case.server.backend_url, tmp_path / "b.db") for _ in range(2)]
            assert await case.status("PATCH", "/sessions/s3", POISON[0]) == 500
            unreadable = await copied(case.server.backend_url, tmp_path / "c.db")
        assert [(done.status, done.err) for done in dones] == [(0, "")] * 2
        assert dones[0].out.startswith("4 sessions with 12 messages are the same in both")
        assert "; 4 of the sessions were there already" in dones[1].out
        assert unreadable.out.startswith("3 sessions with 10 messages are the same in both")
        assert unreadable.status == 1
        assert "mcp-sessions: the list of AgentOS is not complete: AgentOS failed on " in unreadable.err
