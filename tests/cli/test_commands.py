"""The demo and the server as processes, over real pipes."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from ..support.fork_server import forked

COMMAND = [sys.executable, "-m", "mcp_sessions"]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_DATA_HOME": str(folder), "HOME": str(folder), "PYTHONIOENCODING": "utf-8"}


def run(*arguments: str, folder: Path, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        forked("-m", "mcp_sessions", *arguments),
        env=environment(folder),
        stdin=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_completes_and_shows_each_call(tmp_path: Path) -> None:
    done = run("demo", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    calls = [line.split("(")[0].strip() for line in done.stdout.splitlines() if line.startswith("  ") and "(" in line]
    walked = ["list_sessions", "get_session_history", "search_sessions", "search_sessions", "rename_session"]
    walked += ["update_session_state", "archive_session", "list_sessions", "restore_session"]
    assert [call for call in calls if call in walked] == walked
    assert "天気" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_ends_quietly_if_its_output_is_closed(tmp_path: Path) -> None:
    shown, said = os.pipe()
    with subprocess.Popen(
        [*COMMAND, "demo"], env=environment(tmp_path), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.PIPE
    ) as demo:
        os.close(said)
        os.read(shown, 1)
        os.close(shown)
        assert demo.stderr is not None
        assert demo.stderr.read() == b""


def test_a_garbage_collection_of_the_server_looks_only_at_what_was_made_since_its_start(tmp_path: Path) -> None:
    statements = """
import gc
from mcp_sessions.cli.main import main
main(["serve"])
print(len(gc.get_objects()), gc.get_freeze_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", statements],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    collected, exempt = map(int, done.stdout.split())
    assert collected < exempt / 2


def test_the_server_ends_quietly_when_its_client_disconnects(tmp_path: Path) -> None:
    done = run(folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_error_about_a_store_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but a text that is long enough to be taken for one" * 20)
    for url in ("sqlite:////proc/no/x.db", f"sqlite:///{tmp_path}/text.db", f"sqlite:///{tmp_path}"):
        done = run("--backend", url, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("mcp-sessions: --backend: the store's ")
        assert done.stderr.count("\n") == 1


def test_on_a_terminal_the_server_says_what_it_waits_for(tmp_path: Path) -> None:
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"\x04")  # Ctrl-D: the end of what is typed
    done = run(folder=tmp_path, stdin=terminal)
    os.close(keyboard)
    os.close(terminal)
    assert done.returncode == 0
    assert "It now waits for an MCP client's messages on stdin" in done.stderr
    assert all(f"`mcp-sessions {name}" in done.stderr for name in ("demo", "doctor", "config"))
    assert f"sqlite:///{tmp_path}/mcp-sessions/sessions.db\n" in done.stderr


@pytest.mark.slow
def test_the_demo_says_if_its_server_does_not_start(tmp_path: Path) -> None:
    without_python = (
        "import sys; sys.executable = 'false'; from mcp_sessions.cli.main import main; sys.exit(main(['demo'], {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", without_python],
        env=environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "mcp-sessions demo: the server stopped early. See its message above."
    assert "Traceback" not in done.stderr


def test_the_default_store_is_in_the_users_data_folder(tmp_path: Path) -> None:
    run("serve", folder=tmp_path)
    assert [path.name for path in tmp_path.rglob("*.db")] == ["sessions.db"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_over_stdio_renames_a_session_in_a_file(mode: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    command = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "--backend", url], env=environment(tmp_path)
    )
    with anyio.fail_after(60):
        async with Client(stdio_client(command), mode=mode) as client:
            created = await client.call_tool("create_session", {"name": "before"})
            assert created.structured_content is not None
            session_id = created.structured_content["id"]
            await client.call_tool("rename_session", {"session_id": session_id, "name": "after"})
        async with Client(stdio_client(command), mode=mode) as client:
            listed = await client.call_tool("list_sessions")
            assert listed.structured_content is not None
            assert [row["name"] for row in listed.structured_content["sessions"]] == ["after"]
