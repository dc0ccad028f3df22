"""The folders that a filter by project selects, beyond those of the contract suite."""

from pathlib import Path

import pytest

from mcp_sessions.backends.project_filter import folder_parts, in_project
from mcp_sessions.errors import Invalid


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann~")
    assert in_project("~")("/home/ann~/app")
    assert in_project("~/app/")("/home/ann~/app")
    assert not in_project("~/app")("/home/ann~")
    assert not in_project("/home")("~/app")


@pytest.mark.parametrize(
    ("project", "folder"),
    [
        ("\\\\server\\share", "\\\\SERVER\\share\\app"),
        ("D:", "d:\\app"),
        ("/", "/"),
        ("/w/a\u200bpp", "/w/app"),
        ("/w/a\\b", "/w/a\\b/c"),
    ],
)
def test_a_folder_is_found_as_it_is_written_and_shown(project: str, folder: str) -> None:
    assert in_project(project)(folder)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "link").symlink_to("app")
    assert not in_project(str(tmp_path / "link"))(str(tmp_path / "app"))


@pytest.mark.parametrize("folder", ["", "app", "~/app", "\ud800", "/" + "a" * 10_000, "C:app", "\0"])
def test_a_session_with_any_other_text_as_its_folder_is_in_no_project(folder: str) -> None:
    assert folder_parts(folder) == ()
    assert not in_project("/")(folder)
    assert in_project("")(folder)


def test_a_path_of_very_many_folders_has_few_parts() -> None:
    assert len(folder_parts("/a" * 2_000)) == 65


def test_without_a_home_folder_a_tilde_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(Invalid, match="full path"):
        in_project("~/app")
