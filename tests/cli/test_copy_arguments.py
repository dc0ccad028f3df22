"""`mcp-sessions copy`: source and target are two stores; the source exists, and is only read."""

import os
from pathlib import Path

import pytest

from ..support.copied_store import copy, fill
from ..support.store_files import connected, contents, dump


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.mark.parametrize("name", ["symbolic", "hard", "not UTF-8", "relative", "folder"])
async def test_copying_a_file_onto_itself_by_another_path_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    await fill(url(tmp_path / "a.db"), 1)
    (tmp_path / "symbolic.db").symlink_to(tmp_path / "a.db")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "a.db")
    (tmp_path / os.fsdecode(b"\xff.db")).hardlink_to(tmp_path / "a.db")
    (tmp_path / "folder").symlink_to(tmp_path)
    others = {"relative": "a.db", "folder": f"{tmp_path}/folder/a.db", "not UTF-8": f"{tmp_path}/%FF.db"}
    other = others.get(name, f"{tmp_path}/{name}.db")
    before = dump(tmp_path / "a.db")
    for source, target in ((url(tmp_path / "a.db"), f"sqlite:///{other}"), (f"sqlite:///{other}", "sqlite:///a.db")):
        done = copy(source, target)
        assert (done.status, done.out) == (2, "")
        assert done.err == "mcp-sessions: --to can't be the same as --from: name another store.\n"
    assert dump(tmp_path / "a.db") == before


async def test_a_copy_leaves_no_marker_in_either_store(tmp_path: Path) -> None:
    await fill(url(tmp_path / "a.db"), 2)
    assert copy(url(tmp_path / "a.db"), url(tmp_path / "b.db")).status == 0
    for name in ("a.db", "b.db"):
        with connected(tmp_path / name) as store:
            assert store.execute("SELECT * FROM purged_ids").fetchall() == []


@pytest.mark.parametrize("holds", ["nothing", "nothing, as a database", "something else", "an older store"])
def test_a_source_without_a_store_is_refused_and_unchanged(holds: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    with connected(path) as other:
        if holds == "nothing, as a database":
            other.execute("VACUUM")
        elif holds == "something else":
            other.execute("CREATE TABLE sessions (id)")
        elif holds == "an older store":
            other.execute(f"PRAGMA application_id = {0x6D637073}")
    before = contents(tmp_path)
    done = copy(url(path), url(tmp_path / "b.db"))
    said = {
        "something else": "the SQLite file is not a session store; it was not changed.",
        "an older store": "an older mcp-sessions made this store (version 0; this program uses 1). Start this ",
    }.get(holds, "this file is empty. Name one with a session store.")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"mcp-sessions: --from: {said}")
    assert contents(tmp_path) == before


async def test_the_error_about_a_locked_source_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SESSIONS_TIMEOUT", "1")
    await fill(url(tmp_path / "a.db"), 1)
    with connected(tmp_path / "a.db") as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        done = copy(url(tmp_path / "a.db"), url(tmp_path / "b.db"))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("mcp-sessions: --from: other calls locked the store for 1 s")
    assert "Run the same command again" not in done.err


async def test_a_read_only_file_can_be_copied(tmp_path: Path) -> None:
    await fill(url(tmp_path / "a.db"), 2)
    (tmp_path / "a.db").chmod(0o400)
    done = copy(url(tmp_path / "a.db"), url(tmp_path / "b.db"))
    assert (done.status, done.err) == (0, "")
