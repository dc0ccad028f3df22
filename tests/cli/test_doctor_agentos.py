"""`mcp-sessions doctor` and `serve` on AgentOS: the data folder for pending writes and locks."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.registry import open_backend

from ..support.doctor import Examine, names, text_of
from ..support.faked_agentos import on
from ..support.fakes.agentos import FakeAgentOs


def names_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def leave_it_to_be_created(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change nothing."""


def put_a_file_in_place_of_the_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.touch()


def put_a_file_in_place_of_the_parent(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.parent.rmdir()
    data.parent.touch()


def forbid_to_write(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.mkdir()

    def access(path: str | Path, mode: int) -> bool:
        return Path(path) != data or not mode & os.W_OK  # the user that runs the tests may be root, who may write

    monkeypatch.setattr("os.access", access)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (put_a_file_in_place_of_the_folder, "Not a directory"),
        (put_a_file_in_place_of_the_parent, "Not a directory"),
        (forbid_to_write, "Permission denied"),
        (leave_it_to_be_created, ""),
    ],
)
async def test_doctor_and_serve_report_an_unwritable_data_folder_in_the_same_words(
    examined: Examine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    prepare: Callable[[Path, pytest.MonkeyPatch], None],
    reason: str,
) -> None:
    data = tmp_path / "home" / "mcp-sessions"
    data.parent.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(data.parent))
    prepare(data, monkeypatch)
    before = names_below(tmp_path)
    async with FakeAgentOs() as fake:
        url = f"agentos+{fake.url}"
        status, told = await run_sync(partial(examined, "--backend", url))
        _, told_reader = await run_sync(partial(examined, "--backend", url, "--read-only"))
        _, told_without_journal = await run_sync(partial(examined, "--backend", url, "--recheck", "off"))
        assert names_below(tmp_path) == before
        caplog.set_level(logging.WARNING)
        async with open_backend(url):
            pass
    logged = [record.getMessage() for record in caplog.records]
    assert status == 0
    warned = [name for name in names(told, "warning") if name in ("locks", "journal")]
    assert warned == (["locks", "journal"] if reason else [])
    assert len(logged) == len(warned)
    for name, text in zip(warned, logged, strict=True):
        assert f"({reason})" in text
        assert text_of(told, name, "warning") == f"{name}: {text} Let this user write to {data}."
        assert text_of(told_reader, name, "ok") == f"{name}: {text}"
    assert "journal" not in [text.partition(":")[0] for _, text in told_without_journal]


async def test_an_old_version_without_changes_is_fine_for_a_read_only_server(
    examined: Examine,
) -> None:
    async with FakeAgentOs("2.5.6") as fake:
        _, told = await run_sync(partial(examined, "--backend", f"agentos+{fake.url}", "--read-only"))
    warnings = [text for said, text in told if said == "warning" and text.startswith("operations: ")]
    assert len(warnings) == 1
    assert "lists are slow. Upgrade AgentOS" in warnings[0]
    assert ("ok", "operations: before agno 2.7.0, fork_session is refused.") in told


async def test_changes_continue_without_a_data_folder_and_a_warning_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeAgentOs() as fake, on(fake, tmp_path / ("a" * 300)) as backend:
        created = await backend.create_session(name="old")
        change = await backend.rename_session(created.id, "new")
    assert change.changed == {"name": "new"}
    locks, journal = [record.getMessage() for record in caplog.records]
    assert locks.startswith("Can't keep locks in ")
    assert journal.startswith("Can't keep a journal of changes at ")
    assert "File name too long" in locks and "File name too long" in journal
