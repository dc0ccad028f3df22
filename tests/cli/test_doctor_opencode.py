"""`mcp-sessions doctor` on opencode: its version, its password, and our folder for locks."""

from functools import partial
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from ..support.doctor import TOKEN, Examine, names, text_of
from ..support.fakes.http import Response
from ..support.fakes.opencode import FakeOpencode, Fault
from ..support.opencode_database import create


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
        assert "all 15" in text_of(told, "operations", "ok")


async def test_a_folder_for_locks_that_cannot_be_used_is_a_warning(
    examined: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mcp-sessions").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with FakeOpencode(password=TOKEN) as fake:
        status, told = await run_sync(partial(examined, "--backend", f"opencode+{fake.origin}", TOKEN=TOKEN))
    assert (status, names(told, "warning")) == (0, ["locks"])
    assert "Not a directory" in text_of(told, "locks", "warning")


async def test_a_server_of_another_kind_is_not_taken_for_opencode(examined: Examine) -> None:
    async with FakeOpencode() as fake:
        fake.faults.append(Fault(Response(200, b"{}"), path="/global/health"))
        status, told = await run_sync(partial(examined, "--backend", f"opencode+{fake.origin}", TOKEN=TOKEN))
    assert status == 1
    assert "no opencode server answers" in text_of(told, "backend", "failed")


def test_a_server_that_is_reached_without_encryption_is_a_warning(examined: Examine) -> None:
    status, told = examined("--backend", "opencode+http://nowhere.invalid", "--allow-http", TOKEN=TOKEN)
    assert (status, names(told, "warning"), names(told, "failed")) == (1, ["encryption"], ["backend"])


def test_the_database_that_is_read_is_named(examined: Examine, tmp_path: Path) -> None:
    create(tmp_path / "opencode.db").close()
    status, told = examined("--backend", f"opencode://{tmp_path}")
    assert (status, text_of(told, "backend", "ok")) == (0, f"backend: {tmp_path}/opencode.db can be read.")
