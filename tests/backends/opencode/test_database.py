"""Reading opencode's database changes nothing, and also works for other versions and damaged rows."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Invalid, SessionsError, Unavailable, Unsupported
from mcp_sessions.models import HistoryQuery, SessionFilter

from ...contract.harness import Seed
from ...contract.samples import WEATHER, exchanges
from ...support.fakes.opencode import seeded
from ...support.opencode_database import create, insert


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but the index of the log, which SQLite shares between all connections of this process."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def filled(folder: Path, *seeds: Seed) -> list[str]:
    """Create a database that no program has open, and return the ids of its sessions."""
    with closing(create(folder / "opencode.db")) as connection, connection:
        return insert(connection, *map(seeded, seeds))


async def read_all(folder: Path) -> list[str]:
    """Return the names of the sessions, after every reading operation."""
    async with open_backend(f"opencode://{folder}") as backend:
        page = await backend.list_sessions(SessionFilter())
        for session in page.sessions:
            await backend.get_session(session.id)
            await backend.get_session_history(session.id, HistoryQuery(include_tools=True))
            await backend.get_session_runs(session.id)
        await backend.search_sessions("rome")
        return [session.name for session in page.sessions]


async def test_reading_the_database_of_a_stopped_opencode_changes_no_file(tmp_path: Path) -> None:
    filled(tmp_path, Seed(name="Trip", runs=WEATHER))
    before = contents(tmp_path)
    assert await read_all(tmp_path) == ["Trip"]
    assert contents(tmp_path) == before
    assert names_in(tmp_path) == ["opencode.db"]


async def test_what_a_running_opencode_has_just_written_is_read_and_nothing_is_changed(tmp_path: Path) -> None:
    with closing(create(tmp_path / "opencode.db")) as connection:
        for number in range(3):
            with connection:
                insert(connection, seeded(Seed(name=f"{number}", runs=WEATHER)))
            before = contents(tmp_path)
            assert len(await read_all(tmp_path)) == number + 1
            assert contents(tmp_path) == before
        assert "opencode.db-wal" in contents(tmp_path)


async def test_a_copy_of_a_database_and_its_log_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with closing(create(tmp_path / "opencode.db")) as connection, connection:
        insert(connection, seeded(Seed(name="Trip")))
        connection.commit()
        for name in ("opencode.db", "opencode.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / "copy")
    assert await read_all(tmp_path / "copy") == ["Trip"]


async def test_a_database_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="there is no database"):
        await read_all(tmp_path)
    assert names_in(tmp_path) == []


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "opencode.db").write_bytes(b"x" * 4096)
    with pytest.raises(Unavailable, match="can't be read"):
        await read_all(tmp_path)


async def test_tables_of_an_unknown_version_are_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "opencode.db")) as connection:
        connection.execute("ALTER TABLE session RENAME COLUMN time_archived TO archived")
    with pytest.raises(Unsupported, match="lacks columns of all known versions"):
        await read_all(tmp_path)


async def test_columns_that_older_versions_lack_are_not_needed(tmp_path: Path) -> None:
    (session_id,) = filled(tmp_path, Seed(name="Trip", agent_id="plan", metadata={"a": 1}))
    with closing(sqlite3.connect(tmp_path / "opencode.db")) as connection:
        for column in ("agent", "metadata", "tokens_input"):
            connection.execute(f"ALTER TABLE session DROP COLUMN {column}")
    async with open_backend(f"opencode://{tmp_path}/opencode.db") as backend:
        session = await backend.get_session(session_id)
    assert (session.name, session.agent_id, session.metadata) == ("Trip", "", {})


@pytest.mark.parametrize("value", ["", "[]", "{", '{"role": 7}', '{"text": "\\ud800"}', b"\xff", 7, "[" * 100_000])
async def test_damaged_rows_are_shown_as_far_as_they_can_be(tmp_path: Path, value: object) -> None:
    filled(tmp_path, Seed(name="Trip", metadata={"a": 1}, runs=exchanges(1)))
    with closing(sqlite3.connect(tmp_path / "opencode.db")) as connection, connection:
        connection.execute("UPDATE part SET data = ?", (value,))
        connection.execute("UPDATE session SET metadata = ?, time_updated = 'now'", (value,))
        connection.execute("UPDATE message SET data = ? WHERE id = (SELECT max(id) FROM message)", (value,))
    assert await read_all(tmp_path) == ["Trip"]


@pytest.mark.parametrize(
    "url", ["opencode:x", "opencode:///", "opencode://host/x", "opencode:///a%00b", "opencode:?a=b"]
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_backend(url)


async def test_the_users_own_database_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "opencode").mkdir()
    (session_id,) = filled(tmp_path / "opencode", Seed(name="Trip"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with open_backend("opencode:") as backend:
        assert (await backend.get_session(session_id)).name == "Trip"


async def test_nothing_can_be_changed(tmp_path: Path) -> None:
    (session_id,) = filled(tmp_path, Seed(name="Trip"))
    async with open_backend(f"opencode://{tmp_path}") as backend:
        for change in (backend.rename_session(session_id, "x"), backend.delete_session(session_id)):
            with pytest.raises(SessionsError, match="has no"):
                await change


async def test_the_current_session_is_the_only_one_with_a_running_turn_in_the_folder_of_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    earlier, waiting, running, other, elsewhere = filled(tmp_path, *[Seed(runs=exchanges(1))] * 5)

    def set_running(session_id: str, *, directory: str = str(tmp_path), begins_in: int = 60_000) -> None:
        """Let the answer of a session have no end, as while a tool is called."""
        begins = time.time_ns() // 1_000_000 + begins_in
        with closing(sqlite3.connect(tmp_path / "opencode.db")) as connection, connection:
            connection.execute(
                "UPDATE session SET directory = ?, time_updated = ? WHERE id = ?", (directory, begins, session_id)
            )
            connection.execute(
                "UPDATE message SET time_created = ?, data = json_remove(data, '$.time.completed') "
                "WHERE session_id = ?",
                (begins, session_id),
            )

    backend = open_backend(f"opencode://{tmp_path}")
    set_running(earlier, begins_in=-120_000)  # its opencode was killed
    set_running(elsewhere, directory="/elsewhere")
    set_running(running, begins_in=-10_000)  # this server is started in the first turn
    assert backend.client_session() == ""
    monkeypatch.setenv("OPENCODE_PID", "1")
    assert backend.client_session() == running
    with closing(sqlite3.connect(tmp_path / "opencode.db")) as connection, connection:
        connection.execute("UPDATE session SET directory = ? WHERE id = ?", (str(tmp_path), waiting))
    assert backend.client_session() == running
    set_running(other)
    assert backend.client_session() == ""
    (tmp_path / "opencode.db").unlink()
    assert backend.client_session() == ""
