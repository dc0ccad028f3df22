"""The store's file: its permissions, and paths where it can't be created or something else exists."""

import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio import CancelScope

from mcp_sessions.backends.database.sqlite_schema import APPLICATION_ID
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import BadResponse, Invalid, SessionsError, Unavailable
from mcp_sessions.models import SessionFilter

from ...support.store_files import connected, contents, opened


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@contextmanager
def _umask(mask: int) -> Generator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def made(path: Path) -> Path:
    """Create a SQLite file of another program."""
    with connected(path) as connection:
        connection.executescript("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine');")
    return path


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
async def test_a_new_file_and_its_folders_are_accessible_only_by_the_user(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "new" / "newer" / "sessions.db"
    with _umask(mask):
        async with opened(path) as store:
            await store.create_session(name="Private")
            assert {_mode(inside) for inside in path.parent.iterdir()} == {0o600}
        assert os.umask(mask) == mask
    assert (_mode(path.parent), _mode(path.parent.parent)) == (0o700, 0o700)


async def test_existing_files_and_folders_keep_their_permissions(tmp_path: Path) -> None:
    path = tmp_path / "shared" / "sessions.db"
    async with opened(path):
        pass
    path.chmod(0o640)
    path.parent.chmod(0o750)
    with _umask(0):
        async with opened(path) as store:
            await store.create_session()
            assert {_mode(inside) for inside in path.parent.iterdir()} <= {0o640, 0o600}
    assert (_mode(path), _mode(path.parent)) == (0o640, 0o750)


async def test_a_failed_open_restores_the_umask(tmp_path: Path) -> None:
    with _umask(0o027):
        with pytest.raises(SessionsError):
            async with opened(tmp_path):
                pass
        assert os.umask(0o027) == 0o027


@pytest.mark.parametrize(
    "place", ["", "file/sessions.db", "file/folder/sessions.db", "x" * 300, "x" * 300 + "/sessions.db"]
)
async def test_a_path_where_no_file_can_be_created_is_unavailable(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("Not a folder")
    with pytest.raises(Unavailable, match="path"):
        async with opened(tmp_path / place):
            pass
    assert contents(tmp_path) == {"file": b"Not a folder"}


@pytest.mark.parametrize("path", ["/dev/null/sessions.db", "/proc/sessions.db", "/proc/absent/folder/sessions.db"])
async def test_a_path_owned_by_the_system_is_unavailable(path: str) -> None:
    with pytest.raises(Unavailable, match="path"):
        async with opened(Path(path)):
            pass


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite://a.db", "sqlite:///a%00b", "sqlite:///?timeout=1"]
)
def test_a_url_of_another_shape_is_invalid(url: str) -> None:
    with pytest.raises(Invalid, match="sqlite:///PATH"):
        open_backend(url)


def test_the_home_folder_of_an_unknown_user_is_invalid() -> None:
    with pytest.raises(Invalid, match="~"):
        open_backend("sqlite:///~nobody-of-this-name/sessions.db")


async def test_a_path_can_have_any_characters(tmp_path: Path) -> None:
    for name in ("with space.db", "ünï 東京 😀.db", "semi;colon'quote\".db", "file:name.db", "-.db", "#hash.db"):
        async with opened(tmp_path / name) as store:
            await store.create_session(name=name)
        assert (tmp_path / name).exists()
    async with open_backend(f"sqlite:///{tmp_path}/per%20cent.db") as store:
        await store.create_session()
    assert (tmp_path / "per cent.db").exists()


async def test_a_database_of_another_program_is_left_alone(made: Path) -> None:
    before = contents(made.parent)
    with pytest.raises(Unavailable, match="is not a session store; it was not changed"):
        async with opened(made):
            pass
    assert contents(made.parent) == before


@pytest.mark.parametrize("pragma", ["user_version = 1", "user_version = 99", "application_id = 7"])
async def test_an_empty_database_of_another_program_is_left_alone(path: Path, pragma: str) -> None:
    with connected(path) as connection:
        connection.execute(f"PRAGMA {pragma}")
    before = contents(path.parent)
    with pytest.raises(Unavailable, match="is not a session store"):
        async with opened(path):
            pass
    assert contents(path.parent) == before


@pytest.mark.parametrize("version", [0, -1])
async def test_a_store_without_a_version_is_left_alone(path: Path, version: int) -> None:
    async with opened(path):
        pass
    with connected(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = contents(path.parent)
    with pytest.raises(Unavailable, match="marked as a session store but isn't one"):
        async with opened(path):
            pass
    assert contents(path.parent) == before


async def test_a_store_without_its_tables_is_left_alone(path: Path) -> None:
    with connected(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(Unavailable, match="marked as a session store but isn't one"):
        async with opened(path):
            pass


@pytest.mark.parametrize(
    "content", [b"Dear diary,\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 4096, b"{}"]
)
async def test_a_file_that_is_not_a_database_is_left_alone(path: Path, content: bytes) -> None:
    _put(path, content)
    with pytest.raises((BadResponse, Unavailable)):
        async with opened(path):
            pass
    assert contents(path.parent) == {path.name: content}


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    _put(path, b"")
    async with opened(path) as store:
        await store.create_session(name="First")
        assert len((await store.list_sessions(SessionFilter())).sessions) == 1


async def test_a_damaged_file_is_a_bad_response(path: Path) -> None:
    async with opened(path) as store:
        for number in range(50):
            await store.create_session(name=f"{number}", state={"text": "x" * 2000})
    content = contents(path.parent)[path.name]
    _put(path, content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(BadResponse, match="damaged"):
        async with opened(path) as store:
            await store.list_sessions(SessionFilter())


@pytest.mark.parametrize("wrong", ["state = '{'", "metadata = '[]'", "name = x'ff'"])
async def test_a_malformed_row_is_a_bad_response_and_cannot_be_forked(path: Path, wrong: str) -> None:
    async with opened(path) as store:
        session = await store.create_session(name="First")
        with connected(path) as connection:
            connection.execute(f"UPDATE sessions SET {wrong}")
        for call in (store.get_session(session.id), store.fork_session(session.id)):
            with pytest.raises(BadResponse, match="never wrote"):
                await call
    with connected(path) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_a_closed_store_is_unavailable(path: Path) -> None:
    store = opened(path)
    with pytest.raises(Unavailable, match="closed"):
        await store.list_sessions(SessionFilter())
    async with store:
        await store.create_session()
    with pytest.raises(Unavailable, match="closed"):
        await store.list_sessions(SessionFilter())
    async with store:
        assert len((await store.list_sessions(SessionFilter())).sessions) == 1


async def test_a_store_is_closed_even_if_its_task_is_cancelled(path: Path) -> None:
    store = opened(path)
    with CancelScope() as scope:
        async with store:
            scope.cancel()
    with pytest.raises(Unavailable, match="closed"):
        await store.list_sessions(SessionFilter())


async def test_a_store_in_memory_has_no_file_and_ends_with_its_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_backend("sqlite:///:memory:")
    for _ in range(2):
        async with store:
            assert (await store.list_sessions(SessionFilter())).sessions == ()
            session = await store.create_session(name="Short-lived")
            assert (await store.get_session(session.id)).name == "Short-lived"
    assert contents(tmp_path) == {}


async def test_a_relative_path_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_backend("sqlite:///sub/sessions.db")
    monkeypatch.chdir("/")
    async with store:
        await store.create_session()
    assert (tmp_path / "sub" / "sessions.db").exists()


async def test_a_copy_of_the_file_is_a_store(path: Path) -> None:
    async with opened(path) as store:
        await store.create_session(name="Copied")
    shutil.copy(path, path.with_name("copy.db"))
    async with opened(path.with_name("copy.db")) as store:
        assert [session.name for session in (await store.list_sessions(SessionFilter())).sessions] == ["Copied"]
