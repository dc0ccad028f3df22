"""`mcp-sessions doctor` on Claude Code's folder."""

import os
import time
from pathlib import Path

import anyio

from mcp_sessions.backends.registry import open_backend

from ..backends.claude_code.folders import copy_fixtures
from ..support.doctor import Examine, names, text_of

DAY = 24 * 60 * 60


def change(path: Path, *, days_ago: int) -> None:
    """Set when a file was changed last."""
    moment = time.time() - days_ago * DAY
    os.utime(path, (moment, moment))


def test_the_folder_its_sessions_and_their_versions_are_told(examined: Examine, tmp_path: Path) -> None:
    root = copy_fixtures(tmp_path)
    for path in root.rglob("*.jsonl"):
        os.utime(path)
    status, told = examined("--backend", f"claude-code://{root}")
    assert (status, names(told, "warning"), names(told, "failed")) == (0, [], [])
    assert ("ok", f"folder: {root}.") in told
    assert ("ok", "sessions: 12, of which 0 are open in a running Claude Code.") in told
    versions = text_of(told, "versions", "ok")
    assert all(version in versions for version in ("1.0.128 (2)", "2.0.77 (2)", "2.1.332 (8)"))
    assert ("ok", "retention: Claude Code removes sessions after 30 days without a change.") in told
    assert text_of(told, "operations", "ok").startswith("operations: 14 of 15")


def test_what_will_be_removed_within_a_week_and_what_can_not_be_read_are_warnings(
    examined: Examine, tmp_path: Path
) -> None:
    root = copy_fixtures(tmp_path)
    paths = sorted(root.glob("projects/*/????????-*.jsonl"))
    for path in paths:
        change(path, days_ago=20)
    for path in paths[:3]:
        change(path, days_ago=24)
    loop = paths[0].with_name("00000000-0000-4000-8000-000000000000.jsonl")
    loop.symlink_to(loop)
    status, told = examined("--backend", f"claude-code://{root}")
    assert (status, names(told, "warning")) == (0, ["retention", "files"])
    assert "after 30 days without a change, and 3 within the next 7 days" in text_of(told, "retention", "warning")
    assert text_of(told, "files", "warning").startswith("files: 1 can't be read")


def test_sessions_with_a_copy_are_no_warning(examined: Examine, tmp_path: Path) -> None:
    root = copy_fixtures(tmp_path)
    first, second, *others = sorted(root.glob("projects/*/????????-*.jsonl"))
    for path in (first, second, *others):
        change(path, days_ago=29 if path in (first, second) else 1)

    async def archive_and_remove() -> None:
        async with open_backend(f"claude-code://{root}") as backend:
            for path in (first, second):
                await backend.protect_session(path.stem)
        second.unlink()

    anyio.run(archive_and_remove)
    status, told = examined("--backend", f"claude-code://{root}")
    assert (status, names(told, "warning")) == (0, [])
    assert text_of(told, "copies", "ok") == "copies: kept of 2 sessions, of which Claude Code has removed 1."


def test_settings_that_can_not_be_read_are_a_warning(examined: Examine, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    status, told = examined("--backend", f"claude-code://{tmp_path}")
    assert (status, names(told, "warning")) == (0, ["retention"])


def test_a_folder_that_is_not_there_fails(examined: Examine, tmp_path: Path) -> None:
    status, told = examined("--backend", f"claude-code://{tmp_path}/none")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "(No such file or directory" in text_of(told, "backend", "failed")
