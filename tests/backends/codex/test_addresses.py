"""Which home a URL names, and what happens if the home can't be read in time."""

import os
from pathlib import Path

import pytest

from mcp_sessions import open_backend
from mcp_sessions.backends.deadline import deadline
from mcp_sessions.errors import Invalid, Timeout, Unavailable

from .homes import copy_fixtures, labelled, listed, names_in, opened, rollout


async def test_the_home_is_that_of_the_url_else_of_codex_home_else_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a b", "set", "user/.codex"):
        rollout(name).write(tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "set"))

    async def name_at(url: str) -> list[str]:
        async with open_backend(url) as backend:
            return [session.name for session in await listed(backend)]

    assert await name_at(f"codex://{tmp_path}/a%20b") == ["a b"]
    assert await name_at("codex:") == ["set"]
    monkeypatch.delenv("CODEX_HOME")
    assert await name_at("codex:?timeout=5") == ["user/.codex"]


@pytest.mark.parametrize(
    "url", ["codex:home", "codex:/home", "codex://host/home", "codex:///", "codex:///a%00b", "codex:?command=codex"]
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_backend(url)


def test_the_home_of_an_unknown_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", "~nobody-of-this-name/.codex")
    with pytest.raises(Invalid, match="Name Codex's"):
        open_backend("codex:")


async def test_a_home_that_is_not_there_is_unavailable_and_one_without_threads_is_empty(tmp_path: Path) -> None:
    async with opened(tmp_path / "none") as backend:
        with pytest.raises(Unavailable, match="CODEX_HOME"):
            await backend.check_reachable()
    assert await names_in(tmp_path) == []
    (tmp_path / "sessions").write_text("")
    assert await names_in(tmp_path) == []


async def test_a_call_without_time_left_ends_with_a_timeout(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    async with opened(home) as backend:
        for call in (backend.get_session, backend.get_session_history, backend.get_session_runs):
            with deadline(0), pytest.raises(Timeout):
                await call(labelled("paginated"))
        with deadline(0), pytest.raises(Timeout):
            await listed(backend)
        (home / "session_index.jsonl").unlink()
        with deadline(0), pytest.raises(Timeout):
            await listed(backend)


async def test_a_file_that_vanishes_after_a_folder_was_read_is_left_out(tmp_path: Path) -> None:
    kept, gone = rollout("kept"), rollout("gone")
    kept.write(tmp_path)
    path = gone.write(tmp_path)
    folder = path.parent
    for each in (folder, *folder.parents[:3]):
        os.utime(each, (1e9, 1e9))
    async with opened(tmp_path) as backend:
        assert len(await listed(backend)) == 2
        path.unlink()
        os.utime(folder, (1e9, 1e9))  # as if the folder had been read before, and the file removed since
        assert [session.name for session in await listed(backend)] == ["kept"]
