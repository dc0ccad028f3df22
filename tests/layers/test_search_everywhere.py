"""One search over Claude Code, Codex and AgentOS, as settings build them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from mcp_sessions.config.build import build_backend
from mcp_sessions.config.settings import Settings
from mcp_sessions.errors import Unavailable
from mcp_sessions.models import HistoryQuery, NewMessage, SessionFilter

from ..contract.agentos import as_json
from ..contract.harness import Seed
from ..support import claude_transcripts, codex_rollouts
from ..support.fakes.agentos import FakeAgentOs
from ..support.servers import agentos_process

PATIENCE = 120.0
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
_RUN = (NewMessage(role="user", text="We chose a red apple"), NewMessage(role="assistant", text="Yes"))
AGENTOS_SESSION = as_json(Seed(name="untitled", runs=[_RUN], moment=NOW + timedelta(hours=2)))


async def _search_each(tmp_path: Path, agentos_url: str) -> None:
    """Search Claude Code, Codex and an AgentOS that has the session `AGENTOS_SESSION`, which is the newest one."""
    claude, codex = tmp_path / "claude", tmp_path / "codex"
    transcript = claude_transcripts.Transcript()
    transcript.prompt("Why the red apple?", NOW)
    transcript.title("untitled")
    transcript.write(claude)
    rollout = codex_rollouts.Rollout(legacy=True, moment=NOW + timedelta(hours=1))
    rollout.turn("A red apple, please", "", NOW + timedelta(hours=1))
    rollout.write(codex)
    codex_rollouts.name_in_index(codex, rollout.id, "untitled")
    urls = (f"claude=claude-code://{claude}", f"codex=codex://{codex}", f"agents={agentos_url}")
    index, overlay = str(tmp_path / "index.db"), f"sqlite:///{tmp_path / 'overlay.db'}"
    settings = Settings(backend=urls, index=index, overlay=overlay, timeout=PATIENCE)  # a busy machine may be slow
    async with build_backend(settings) as backend:
        with anyio.fail_after(PATIENCE):
            while not (
                page := await backend.search_sessions('"red apple"')
            ).complete:  # a slow server needs a repetition
                assert "not indexed yet" in page.note
        assert (page.note, page.next_cursor) == ("", "")
        assert [hit.session_id.partition("/")[0] for hit in page.hits] == ["agents", "codex", "claude"]
        for hit in page.hits:
            found = await backend.get_session_history(hit.session_id, HistoryQuery(around=hit.message_id))
            (message,) = [message for message in found.messages if message.id == hit.message_id]
            assert "red apple" in message.text


async def test_one_search_finds_a_phrase_in_each_system_newest_first(tmp_path: Path) -> None:
    async with FakeAgentOs("3.1.10") as agentos:
        agentos.seed(AGENTOS_SESSION)
        await _search_each(tmp_path, f"agentos+{agentos.url}")


if agentos_process.are_installed():  # else the test does not exist, rather than being skipped

    @pytest.mark.parametrize("version", agentos_process.VERSIONS)
    async def test_one_search_finds_a_phrase_in_a_real_agentos_too(
        version: agentos_process.Version, tmp_path: Path
    ) -> None:
        server = agentos_process.running(version)
        await server.clear()
        await server.seed(AGENTOS_SESSION)
        await _search_each(tmp_path, server.backend_url)


async def test_a_project_that_several_agents_worked_in_is_one_list_and_one_search(tmp_path: Path) -> None:
    claude, codex = tmp_path / "claude", tmp_path / "codex"
    for number, cwd in enumerate(("/w/app", "/w/application", "/w/app/lib")):
        transcript = claude_transcripts.Transcript(cwd=cwd)
        transcript.prompt("red apple", NOW + timedelta(minutes=number))
        transcript.write(claude, NOW + timedelta(minutes=number))
        rollout = codex_rollouts.Rollout(moment=NOW + timedelta(minutes=number), cwd=cwd)
        rollout.turn("red apple", "", NOW + timedelta(minutes=number))
        rollout.write(codex)
    urls = (f"claude=claude-code://{claude}", f"codex=codex://{codex}", f"sqlite:///{tmp_path / 'store.db'}")
    index, overlay = str(tmp_path / "index.db"), f"sqlite:///{tmp_path / 'overlay.db'}"
    async with build_backend(Settings(backend=urls, index=index, overlay=overlay)) as backend:
        listed = await backend.list_sessions(SessionFilter(project="/w/app"))
        assert (listed.total, listed.note) == (4, "")
        ids = {session.id for session in listed.sessions}
        assert {session.project for session in listed.sessions} == {"/w/app", "/w/app/lib"}
        found = await backend.search_sessions('"red apple"', project="/w/app")
        assert (found.complete, found.note) == (True, "")
        assert {hit.session_id for hit in found.hits} == ids
        await backend.archive_session(next(id for id in ids if id.startswith("claude/")))
        archived = await backend.list_sessions(SessionFilter(project="/w", archived=True))
        assert len(archived.sessions) == 1
        assert (await backend.list_sessions(SessionFilter(project="/w/app"))).total == 3


@pytest.mark.parametrize("urls", [["sqlite:///:memory:"], ["sqlite:///:memory:", "b=sqlite:///:memory:"]])
async def test_stores_alone_say_that_their_sessions_have_no_project(urls: list[str]) -> None:
    async with build_backend(Settings(backend=tuple(urls))) as backend:
        listed = await backend.list_sessions(SessionFilter(project="/w"))
        assert (listed.sessions, listed.total) == ((), 0)
        assert listed.note.endswith("The sessions of this backend have no project.")
        found = await backend.search_sessions("apple", project="/w")
        assert (found.hits, found.complete, found.note) == ((), True, listed.note)


def _write_two_agents(
    folder: Path, *, apart: timedelta = timedelta(minutes=1), is_oldest_changed_last: bool = True
) -> Settings:
    """Write a session of Claude Code, a newer one of Codex, and an even newer one of Claude Code, all named walrus."""
    claude, codex = folder / "claude", folder / "codex"
    for number in (0, 2):
        transcript = claude_transcripts.Transcript()
        transcript.title(f"walrus {number}")
        transcript.prompt("red apple", NOW + number * apart)
        transcript.write(claude, NOW + timedelta(days=1, minutes=-number if is_oldest_changed_last else number))
    rollout = codex_rollouts.Rollout(legacy=True, moment=NOW + apart)
    rollout.turn("red apple", "", NOW + apart)
    rollout.write(codex)
    codex_rollouts.name_in_index(codex, rollout.id, "walrus 1")
    urls = (f"claude=claude-code://{claude}", f"codex=codex://{codex}")
    return Settings(backend=urls, index=str(folder / "index.db"), overlay="off", timeout=PATIENCE)


@pytest.mark.parametrize("apart", [timedelta(minutes=1), timedelta(milliseconds=20)])
@pytest.mark.parametrize("is_oldest_changed_last", [True, False])
async def test_names_are_ordered_by_when_their_sessions_were_created_in_all_systems(
    apart: timedelta, *, is_oldest_changed_last: bool, tmp_path: Path
) -> None:
    settings = _write_two_agents(tmp_path, apart=apart, is_oldest_changed_last=is_oldest_changed_last)
    async with build_backend(settings) as backend:
        page = await backend.search_sessions("walrus")
    assert [hit.session_name for hit in page.hits] == ["walrus 2", "walrus 1", "walrus 0"]


@pytest.mark.parametrize("scheme", ["claude-code", "codex"])
async def test_a_folder_in_which_an_agent_has_not_run_yet_is_no_error(scheme: str, tmp_path: Path) -> None:
    settings = Settings(backend=(f"{scheme}://{tmp_path}",), index=str(tmp_path / "index.db"), overlay="off")
    async with build_backend(settings) as backend:
        assert (await backend.list_sessions(SessionFilter())).total == 0
        assert (await backend.search_sessions("apple")).complete


@pytest.mark.parametrize("gone", ["claude", "codex"])
async def test_a_folder_that_is_missing_is_an_error_and_not_a_folder_without_sessions(
    gone: str, tmp_path: Path
) -> None:
    settings = _write_two_agents(tmp_path)
    async with build_backend(settings) as backend:
        everything = await backend.search_sessions("apple")
        assert everything.complete
        (tmp_path / gone).rename(tmp_path / "elsewhere")
        page = await backend.search_sessions("apple")
        assert {hit.session_id.partition("/")[0] for hit in page.hits} == {"claude", "codex"} - {gone}
        assert not page.complete
        assert f"{gone} (" in page.note
        sessions = await backend.list_sessions(SessionFilter())
        assert (sessions.total, f"{gone} (" in sessions.note) == (None, True)
        lost = next(hit.session_id for hit in everything.hits if hit.session_id.startswith(gone))
        for session_id in (lost, f"{lost}/agent-1"):
            with pytest.raises(Unavailable, match="can't be read"):
                await backend.get_session(session_id)
    (tmp_path / "elsewhere").rename(tmp_path / gone)
    async with build_backend(settings) as backend:
        assert await backend.search_sessions("apple") == everything


async def test_a_damaged_index_that_several_systems_use_is_made_anew_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = _write_two_agents(tmp_path)
    for _ in range(10):
        async with build_backend(settings) as backend:
            assert len((await backend.search_sessions("apple")).hits) == 3
        with (tmp_path / "index.db").open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 40_000)
        async with build_backend(settings) as backend:
            page = await backend.search_sessions("apple")
        assert (len(page.hits), page.complete) == (3, True)
        assert page.note.endswith("The search index was damaged, so a new one was made.")
        assert "can't" not in page.note
    assert sum("was damaged" in message for message in caplog.messages) == 10
