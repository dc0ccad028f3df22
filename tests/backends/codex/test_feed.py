"""What the search index is told of Codex's threads, and what is looked at again after a change."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_sessions.backends.codex import CodexOptions
from mcp_sessions.backends.codex.feed import CodexFeed
from mcp_sessions.backends.codex.reader import CodexReader
from tests.support.codex_rollouts import Rollout, name_in_index

CAN_WATCH = sys.platform == "linux"
DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]


def _home(root: Path) -> Sequence[Path]:
    """Write a thread for each day, all long ago. Return their files."""
    paths = [Rollout(legacy=True, moment=day).write(root) for day in DAYS]
    for folder in {folder for path in paths for folder in path.parents if folder.is_relative_to(root)}:
        os.utime(folder, (1, 1))  # a folder that changed just now is always read again
    return paths


async def _looked_at(monkeypatch: pytest.MonkeyPatch, backend: CodexReader, root: Path) -> tuple[CodexFeed, set[Path]]:
    """Return the feed, and the files that it looked at."""
    paths: list[str] = []
    original = os.stat

    def stat(path: str, **arguments: bool) -> os.stat_result:
        paths.append(str(path))
        return original(path, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        feed = await backend.transcript_feed()
    assert feed.states == (await CodexReader(root, CodexOptions()).transcript_feed()).states
    return feed, {path for path in map(Path, paths) if path.name.startswith("rollout-")}


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"{}\n")


def _append_to_all(root: Path) -> None:
    for path in root.rglob("rollout-*"):
        _append(path)


def _archive(path: Path) -> None:
    folder = path.parents[4] / "archived_sessions"
    folder.mkdir()
    path.rename(folder / path.name)


def _add(path: Path) -> None:
    Rollout(legacy=True, moment=DAYS[0] + timedelta(hours=1)).write(path.parents[4])


def _rename(path: Path) -> None:
    name_in_index(path.parents[4], path.stem[-36:], "a name")


def _nothing(path: Path) -> None: ...


CHANGES: dict[str, tuple[Callable[[Path], object], set[int]]] = {
    "nothing": (_nothing, set()),
    "appended": (_append, {0}),
    "truncated": (lambda path: path.write_bytes(b""), {0}),
    "a new time": (lambda path: os.utime(path, (1, 1)), {0}),
    "renamed": (_rename, set()),
    "deleted": (Path.unlink, set()),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_only_files_in_folders_that_changed_are_looked_at_again(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _home(tmp_path)
    backend = CodexReader(tmp_path, CodexOptions())
    first, looked_at = await _looked_at(monkeypatch, backend, tmp_path)
    assert looked_at == set(paths)
    make, expected = CHANGES[change]
    make(paths[0])
    feed, looked_at = await _looked_at(monkeypatch, backend, tmp_path)
    assert looked_at == {paths[number] for number in (expected if CAN_WATCH else range(2)) if paths[number].exists()}
    assert (feed.states == first.states) == (change == "nothing")
    assert (feed.states is first.states) == (change == "nothing" and CAN_WATCH)


@pytest.mark.parametrize("change", [_add, _archive])
async def test_a_thread_that_was_added_or_archived_has_its_present_state(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _home(tmp_path)
    backend = CodexReader(tmp_path, CodexOptions())
    await _looked_at(monkeypatch, backend, tmp_path)
    change(paths[0])
    feed, _ = await _looked_at(monkeypatch, backend, tmp_path)
    _append_to_all(tmp_path)
    later, _ = await _looked_at(monkeypatch, backend, tmp_path)
    assert [state.size - 3 for state in later.states.values()] == [state.size for state in feed.states.values()]


@pytest.mark.parametrize("is_symbolic", [True, False])
async def test_a_folder_with_a_link_to_a_file_in_another_folder_is_always_looked_at(
    is_symbolic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _home(tmp_path)[0]
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    if is_symbolic:
        path.symlink_to(elsewhere)
    else:
        os.link(elsewhere, path)
    backend = CodexReader(tmp_path, CodexOptions())
    before, _ = await _looked_at(monkeypatch, backend, tmp_path)
    _append(elsewhere)
    after, _ = await _looked_at(monkeypatch, backend, tmp_path)
    assert before.states != after.states


@pytest.mark.parametrize(("error", "unreadable"), [(FileNotFoundError, 0), (PermissionError, 1)])
async def test_a_file_that_can_not_be_looked_at_is_left_out_until_it_can(
    error: type[OSError], unreadable: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _home(tmp_path)
    backend = CodexReader(tmp_path, CodexOptions())
    original = os.stat

    def stat(path: str, **arguments: bool) -> os.stat_result:
        if str(path) == str(paths[0]):
            raise error
        return original(path, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        feed = await backend.transcript_feed()
    assert (len(feed.states), feed.unreadable) == (1, unreadable)
    feed = await backend.transcript_feed()
    assert (len(feed.states), feed.unreadable) == (2, 0)
