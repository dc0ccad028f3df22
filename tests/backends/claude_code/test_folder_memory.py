"""What is remembered of Claude Code's folders, and what makes it be read again."""

import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from mcp_sessions.backends.claude_code.folder import ClaudeFolder, SessionFile
from mcp_sessions.backends.transcripts import folder_memory

IDS = [str(UUID(int=number)) for number in range(4)]
CAN_WATCH = sys.platform == "linux"


def _folder(root: Path) -> ClaudeFolder:
    for number, name in enumerate(("a", "b")):
        (root / "projects" / name).mkdir(parents=True)
        _path(root, name, number).write_text("{}\n")
    return ClaudeFolder(root)


def _path(root: Path, project: str, number: int) -> Path:
    return root / "projects" / project / f"{IDS[number]}.jsonl"


def _scanned(monkeypatch: pytest.MonkeyPatch, folder: ClaudeFolder) -> tuple[list[str], Sequence[SessionFile]]:
    """Return the names of the folders that a walk reads, and its files."""
    names: list[str] = []
    original = os.scandir

    def scandir(path: str) -> object:
        names.append(os.path.basename(path))  # noqa: PTH119 - `path` is a text
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        files = folder.walk().files
    assert files == ClaudeFolder(folder.root).walk().files
    return sorted(set(names) - {"projects"}), list(files.values())


def _append(root: Path) -> None:
    with _path(root, "a", 0).open("a") as file:
        file.write("{}\n")


def _replace_folder(root: Path) -> None:
    (root / "projects" / "a").rename(root / "old")
    (root / "projects" / "a").mkdir()
    _path(root, "a", 2).write_text("{}\n")


def _append_to_a_file_that_was_open(root: Path) -> None:
    with _path(root, "b", 1).open("a") as file:
        _path(root, "b", 1).rename(_path(root, "a", 1))
        file.write("{}\n")


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda root: None, []),
    "appended": (_append, ["a"]),
    "truncated": (lambda root: _path(root, "a", 0).write_text(""), ["a"]),
    "a new time": (lambda root: os.utime(_path(root, "a", 0), (1, 1)), ["a"]),
    "created": (lambda root: _path(root, "b", 2).write_text("{}\n"), ["b"]),
    "deleted": (lambda root: _path(root, "a", 0).unlink(), ["a"]),
    "moved": (lambda root: _path(root, "a", 0).rename(_path(root, "b", 0)), ["a", "b"]),
    "moved while it was open": (_append_to_a_file_that_was_open, ["a", "b"]),
    "a new folder": (lambda root: _path(root, "c", 2).parent.mkdir(), ["c"]),
    "a renamed folder": (lambda root: (root / "projects" / "a").rename(root / "projects" / "c"), ["c"]),
    "a replaced folder": (_replace_folder, ["a"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_folders_that_changed_are_read_again(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path)
    assert _scanned(monkeypatch, folder)[0] == ["a", "b"]
    make, expected = CHANGES[change]
    make(tmp_path)
    assert _scanned(monkeypatch, folder)[0] == (expected if CAN_WATCH else ["a", "b"])
    _append_all(tmp_path)
    _scanned(monkeypatch, folder)


def _append_all(root: Path) -> None:
    for path in (root / "projects").rglob("*.jsonl"):
        with path.open("a") as file:
            file.write("{}\n")


def test_another_path_of_a_folder_is_read_again_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path)
    (tmp_path / "projects" / "link").symlink_to("a")
    _scanned(monkeypatch, folder)
    _append(tmp_path)
    names, files = _scanned(monkeypatch, folder)
    assert names == (["a", "link"] if CAN_WATCH else ["a", "b", "link"])
    assert {file.state.size for file in files} == {3, 6}


@pytest.mark.parametrize("is_symbolic", [True, False])
def test_a_folder_with_a_link_to_a_file_in_another_folder_is_always_read(
    is_symbolic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("{}\n")
    link = _path(tmp_path, "a", 3)
    if is_symbolic:
        link.symlink_to(elsewhere)
    else:
        os.link(elsewhere, link)
    _scanned(monkeypatch, folder)
    elsewhere.write_text("{}\n{}\n")
    names, files = _scanned(monkeypatch, folder)
    assert "a" in names
    assert {file.state.size for file in files if file.id == IDS[3]} == {6}


def test_after_too_many_changes_all_folders_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path)
    _scanned(monkeypatch, folder)
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    for number in range(int(limit.read_text()) // 2 + 1 if CAN_WATCH else 0):  # equal changes in a row are one event
        os.utime(_path(tmp_path, "b", 1), (number, number))
        os.utime(tmp_path / "projects" / "a" / f"{IDS[0]}.jsonl", (number, number))
    assert _scanned(monkeypatch, folder)[0] == ["a", "b"]
    assert _scanned(monkeypatch, folder)[0] == ([] if CAN_WATCH else ["a", "b"])


@pytest.mark.parametrize(("owner", "name"), [(folder_memory, "is_local"), (sys, "platform")])
def test_folders_that_can_not_be_watched_are_always_read(
    owner: object, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_local(path: Path) -> bool:
        return False

    monkeypatch.setattr(owner, name, is_local if name == "is_local" else "other")
    folder = _folder(tmp_path)
    for _ in range(2):
        assert _scanned(monkeypatch, folder)[0] == ["a", "b"]


@pytest.mark.parametrize("seed", range(5))
def test_after_any_changes_the_files_are_those_of_a_first_walk(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    folder = _folder(tmp_path)
    for _ in range(60):
        paths = sorted((tmp_path / "projects").rglob("*.jsonl"))
        project = chance.choice(("a", "b", "c"))
        target = _path(tmp_path, project, chance.randrange(len(IDS)))
        target.parent.mkdir(exist_ok=True)
        match chance.randrange(6):
            case 0 | 1:
                with target.open("a") as file:
                    file.write("{}\n")
            case 2 if paths:
                chance.choice(paths).unlink()
            case 3 if paths:
                chance.choice(paths).replace(target)
            case 4:
                (tmp_path / "projects" / project).rename(tmp_path / "projects" / f"{project}{chance.random()}")
            case _:
                _append_all(tmp_path)
        if chance.random() < 0.6:
            _scanned(monkeypatch, folder)
