"""App-servers that hang, end, answer late or wrongly, and what is left of them."""

import os
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.codex import app_server
from mcp_sessions.errors import BadResponse, OutcomeUnknown, SessionsError, Timeout, Unavailable, Unsupported

from ...support.fakes.codex import fake_codex
from .homes import copy_fixtures_in_place, labelled, listed, opened

THREAD = labelled("legacy_named")
RENAME, FORK = "thread/name/set", "thread/fork"
PATIENCE = 120  # seconds


@pytest.fixture(autouse=True)
def no_end_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no app-server end because it is idle, so that a test waits only for those that end at once."""
    monkeypatch.setattr(app_server, "_IDLE_SECONDS", 2 * PATIENCE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return copy_fixtures_in_place(tmp_path)


def processes_of(home: Path) -> list[int]:
    """Return the ids of the processes that the fake has started."""
    return [int(line) for line in (home / "processes").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_for_end(home: Path) -> None:
    """Wait until none is running: a process still counts as running when the pipe of its output has ended."""
    with anyio.fail_after(PATIENCE):
        while any(map(is_running, processes_of(home))):  # noqa: ASYNC110 - nothing tells of their end
            await anyio.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("exit:initialize", Unavailable),
        ("foreign:initialize", BadResponse),
        ("error:initialize", Unavailable),
        (f"exit:{RENAME}", Unavailable),
        (f"lie:{RENAME}", BadResponse),
        (f"error:{RENAME}", BadResponse),
    ],
)
async def test_a_change_that_is_not_to_be_seen_fails_and_shows_nothing_of_what_codex_says(
    home: Path, tmp_path: Path, fault: str, error: type[SessionsError]
) -> None:
    async with opened(home, command=str(fake_codex(tmp_path, fault=fault))) as backend:
        with pytest.raises(error) as raised:
            await backend.rename_session(THREAD, "new")
        assert not {"/", "secret", "broken"} & {*raised.value.text, *raised.value.text.split()}
        assert (await backend.get_session(THREAD)).name == "Legacy lantern notes"
    await wait_for_end(home)


async def test_a_change_whose_answer_was_lost_is_read_back(home: Path, tmp_path: Path) -> None:
    async with opened(home, command=str(fake_codex(tmp_path, fault=f"crash:{RENAME}"))) as backend:
        assert (await backend.rename_session(THREAD, "new")).changed == {"name": "new"}
    async with opened(home, command=str(fake_codex(tmp_path, fault=f"crash:{FORK}"))) as backend:
        paginated = labelled("paginated")
        assert (await backend.fork_session(paginated)).parent_id == paginated


async def test_a_legacy_fork_whose_answer_was_lost_may_be_incomplete(home: Path, tmp_path: Path) -> None:
    async with opened(home, command=str(fake_codex(tmp_path, fault=f"crash:{FORK}"))) as backend:
        known = {session.id for session in await listed(backend)}
        with pytest.raises(OutcomeUnknown) as caught:
            await backend.fork_session(THREAD)
        (fork,) = {session.id for session in await listed(backend)} - known
        assert f'session "{fork}"' in caught.value.text


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang:initialize", f"hang:{RENAME}", f"deaf:{RENAME}"])
async def test_a_codex_that_hangs_is_ended_with_its_children_and_nothing_is_changed_later(
    home: Path, tmp_path: Path, fault: str
) -> None:
    async with opened(home, command=str(fake_codex(tmp_path, fault=fault)), timeout=5) as backend:
        with pytest.raises(Timeout, match="nothing was changed"):
            await backend.rename_session(THREAD, "new")
        await wait_for_end(home)
        assert (await backend.get_session(THREAD)).name == "Legacy lantern notes"


@pytest.mark.slow
async def test_a_change_that_is_answered_too_late_is_read_back(home: Path, tmp_path: Path) -> None:
    async with opened(home, command=str(fake_codex(tmp_path, fault=f"late:{RENAME}")), timeout=5) as backend:
        assert (await backend.rename_session(THREAD, "new")).changed == {"name": "new"}


async def test_a_method_that_codex_does_not_know_is_unsupported_in_few_words(home: Path, tmp_path: Path) -> None:
    async with opened(home, command=str(fake_codex(tmp_path, fault=f"unknown:{RENAME}"))) as backend:
        with pytest.raises(Unsupported, match="Update Codex") as refused:
            await backend.rename_session(THREAD, "new")
        assert "thread/" not in refused.value.text


async def test_one_app_server_makes_several_changes_and_ends_when_it_is_idle(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_server, "_IDLE_SECONDS", 0.01)
    async with opened(home, command=str(fake_codex(tmp_path))) as backend:
        await backend.rename_session(THREAD, "one")
        await wait_for_end(home)
        monkeypatch.setattr(app_server, "_IDLE_SECONDS", 2 * PATIENCE)
        await backend.rename_session(THREAD, "two")
        await backend.archive_session(THREAD)
        (_, second) = processes_of(home)
        assert is_running(second)
    await wait_for_end(home)


async def test_an_app_server_ends_after_a_fork_since_it_has_the_fork_open(home: Path, tmp_path: Path) -> None:
    async with opened(home, command=str(fake_codex(tmp_path))) as backend:
        await backend.fork_session(THREAD)
        await wait_for_end(home)


async def test_our_own_settings_are_not_passed_on(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SESSIONS_TOKEN", "secret")
    environment = app_server.program_environment("/opt/codex/bin/codex")
    assert "MCP_SESSIONS_TOKEN" not in environment
    assert environment["PATH"].endswith(f"{os.pathsep}/opt/codex/bin")
