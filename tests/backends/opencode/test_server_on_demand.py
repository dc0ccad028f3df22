"""The server for changes ends with the process that started it, and a change fails if it does not start."""

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Unavailable

from ...contract.harness import Seed
from ...support.fakes.opencode import seeded
from ...support.opencode_database import create, insert


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a database, with a name that a server of opencode finds."""
    found = tmp_path / "opencode"
    found.mkdir()
    return found


async def test_a_change_fails_and_reading_goes_on_if_opencode_does_not_start(folder: Path) -> None:
    with closing(create(folder / "opencode.db")) as connection, connection:
        (session_id,) = insert(connection, seeded(Seed(name="Trip")))
    async with open_backend(f"opencode://{folder}?command=false", data_folder=str(folder)) as backend:
        with pytest.raises(Unavailable, match="nothing was changed"):
            await backend.rename_session(session_id, "Rome")
        assert (await backend.get_session(session_id)).name == "Trip"


async def test_a_change_fails_and_reading_goes_on_if_no_temporary_folder_can_be_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(create(folder / "opencode.db")) as connection, connection:
        (session_id,) = insert(connection, seeded(Seed(name="Trip")))
    async with open_backend(f"opencode://{folder}?command=false", data_folder=str(folder)) as backend:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        with pytest.raises(Unavailable, match="nothing was changed"):
            await backend.rename_session(session_id, "Rome")
        assert (await backend.get_session(session_id)).name == "Trip"


async def test_the_question_before_a_deletion_names_the_sessions_that_go_with_it(folder: Path) -> None:
    with closing(create(folder / "opencode.db")) as connection, connection:
        session_id, child, grandchild, _ = insert(connection, *(seeded(Seed()) for _ in range(4)))
        for parent, started in ((session_id, child), (child, grandchild)):
            connection.execute("UPDATE session SET parent_id = ? WHERE id = ?", (parent, started))
    async with open_backend(f"opencode://{folder}") as backend:
        assert (await backend.get_session_for_deletion(session_id)).child_count == 2


def test_only_reading_is_offered_where_no_opencode_can_make_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def can_rename(url: str, *, read_only: bool = False) -> bool:
        return Capability.RENAME_SESSION in open_backend(url, read_only=read_only).capabilities

    assert can_rename(f"opencode://{folder}?command=false")
    assert not can_rename(f"opencode://{folder}?command=false", read_only=True)
    assert not can_rename(f"opencode://{tmp_path}/other.db?command=false")
    monkeypatch.setenv("PATH", str(tmp_path))  # where no opencode is installed
    assert not can_rename(f"opencode://{folder}")


_STARTS_A_SERVER = """
import anyio, sys
from pathlib import Path
from mcp_sessions.backends.opencode.server_process import run_server

async def main():
    async with run_server(sys.argv[1], Path(sys.argv[2])) as server:
        print(server.process.pid, flush=True)
        if sys.argv[3] == "killed":
            await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["returns", "killed"])
async def test_a_server_and_what_it_started_end_with_the_process_that_started_it(end: str, tmp_path: Path) -> None:
    program = tmp_path / "opencode"
    program.write_text("#!/bin/sh\necho listening on http://127.0.0.1:$5\nsleep 600 &\nsleep 600\n", encoding="utf-8")
    program.chmod(0o700)
    command = [sys.executable, "-c", _STARTS_A_SERVER, str(program), str(tmp_path), end]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        group = int(await process.stdout.receive())
        if end == "killed":
            process.kill()
    with anyio.fail_after(30), pytest.raises(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            await anyio.sleep(0.05)
