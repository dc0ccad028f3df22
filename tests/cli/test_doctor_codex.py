"""`mcp-sessions doctor` on Codex's home."""

import fcntl
from pathlib import Path

import pytest

from ..backends.codex.homes import copy_fixtures, copy_fixtures_in_place, file_of, labelled
from ..support.doctor import Examine, names, text_of
from ..support.fakes.codex import fake_codex


@pytest.fixture(autouse=True)
def path_without_codex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


def test_the_home_its_threads_and_their_versions_are_told(examined: Examine, tmp_path: Path) -> None:
    home = copy_fixtures_in_place(tmp_path)
    lock = home / "thread-writer-locks" / f"{labelled('injected')}.lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, told = examined("--backend", f"codex://{home}")
    assert (status, names(told, "warning"), names(told, "failed")) == (0, [], [])
    assert ("ok", f"folder: {home}.") in told
    kinds = "13 (9 paginated, 4 legacy), of which 2 are archived and 1 are open in a running Codex"
    assert ("ok", f"sessions: {kinds}.") in told
    assert ("ok", "versions: written by Codex 0.171.0 (9), 0.120.0 (3), 0.98.0 (1).") in told
    assert ("ok", "database: has 13 of the sessions.") in told
    assert text_of(told, "program", "ok").endswith("no codex was found on the PATH, so sessions can only be read.")
    assert text_of(told, "operations", "ok").startswith("operations: 10 of 15")


def test_the_program_that_makes_changes_is_told_with_its_version(examined: Examine, tmp_path: Path) -> None:
    home, program = copy_fixtures_in_place(tmp_path), fake_codex(tmp_path, version="0.157.1")
    status, told = examined("--backend", f"codex://{home}?command={program}")
    assert (status, names(told, "warning")) == (0, [])
    assert ("ok", f"program: {program} makes changes (codex-cli 0.157.1).") in told
    assert text_of(told, "operations", "ok").startswith("operations: 13 of 15")


def test_a_program_that_is_not_codex_is_a_warning(examined: Examine, tmp_path: Path) -> None:
    home = copy_fixtures_in_place(tmp_path)
    status, told = examined("--backend", f"codex://{home}?command=/bin/sh")
    assert (status, names(told, "warning")) == (0, ["program"])


def test_a_home_that_was_moved_and_files_that_can_not_be_read_are_warnings(examined: Examine, tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    path = file_of(home, labelled("injected"))
    path.with_name(path.name.replace("cdd5", "cdd6")).symlink_to("/dev/null")
    status, told = examined("--backend", f"codex://{home}")
    assert (status, names(told, "warning")) == (0, ["database", "files"])
    assert "13 sessions are recorded at another place" in text_of(told, "database", "warning")
    assert text_of(told, "files", "warning").startswith("files: 1 can't be read")


def test_a_damaged_database_is_a_warning(examined: Examine, tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    (home / "state_5.sqlite").write_bytes(b"garbage" * 1000)
    status, told = examined("--backend", f"codex://{home}")
    assert (status, names(told, "warning")) == (0, ["database"])


def test_a_home_that_is_not_there_fails(examined: Examine, tmp_path: Path) -> None:
    status, told = examined("--backend", f"codex://{tmp_path}/none")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "(No such file or directory" in text_of(told, "backend", "failed")
