"""`mcp-sessions doctor` on opencode: its version, its password, and our folder for locks."""

from functools import partial
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from ..support.doctor import TOKEN, Examine, names, text_of
from ..support.fakes.opencode import FakeOpencode


@pytest.mark.parametrize(
    ("version", "password", "status", "warnings"),
    [
        ("1.18.33", TOKEN, 0, []),
        ("1.18.33", "", 0, ["credential"]),
        ("2.0.0", TOKEN, 0, ["version"]),
        ("1.18.33", "another", 1, []),
    ],
)
async def test_the_version_and_who_can_reach_the_server_are_reported(
    examined: Examine, version: str, password: str, status: int, warnings: list[str]
) -> None:
    async with FakeOpencode(version=version, password=password) as fake:
        run = partial(examined, "--backend", f"opencode+{fake.origin}", TOKEN=TOKEN)
        ended, told = await run_sync(run)
        assert fake.changes == []
    assert (ended, names(told, "warning")) == (status, warnings)
    assert names(told, "failed") == ["backend"] * status
    if not status:
        assert ("ok", f"version: opencode {version} answers.") in told
        assert "14 of 15, without update_session_state" in text_of(told, "operations", "ok")


async def test_a_folder_for_locks_that_cannot_be_used_is_a_warning(
    examined: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mcp-sessions").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with FakeOpencode(password=TOKEN) as fake:
        status, told = await run_sync(partial(examined, "--backend", f"opencode+{fake.origin}", TOKEN=TOKEN))
    assert (status, names(told, "warning")) == (0, ["locks"])
    assert "Not a directory" in text_of(told, "locks", "warning")
