"""Starts of the real command: the first answers come from the cache, and all else is as without it."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.cli.early_start import settings_hash
from mcp_sessions.config.settings import Settings

from ..support.fork_server import forked
from ..support.stdio_client import Frame, call, initialize, modern, notification, request

pytestmark = pytest.mark.slow

HANDSHAKE = [initialize(1), notification("notifications/initialized"), request(2, "tools/list")]
DISCOVERY = [modern(1, "server/discover"), modern(2, "tools/list"), modern(3, "prompts/list")]


class Installation:
    """A user's folders, in which a command of Python is started again and again."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.folder = folder
        self._command = command
        self.cache = folder / "cache"
        self.logged = ""
        self.notified: list[str] = []

    def start(
        self, frames: Sequence[Frame], *arguments: str, status: int = 0, **variables: str
    ) -> dict[object, dict[str, Any]]:
        """Send the frames, and return the responses by their ids; one that comes twice fails the test."""
        ours = {"XDG_DATA_HOME": str(self.folder / "data"), "XDG_CACHE_HOME": str(self.cache)}
        done = subprocess.run(
            [*self._command, *arguments],
            input="".join(json.dumps(frame) + "\n" for frame in frames),
            env={**os.environ, **ours, **variables},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        self.logged = done.stderr
        assert done.returncode == status, done.stderr
        sent = [json.loads(line) for line in done.stdout.splitlines()]
        self.notified = [frame["method"] for frame in sent if "method" in frame]
        responses = [frame for frame in sent if "method" not in frame]
        assert len({response["id"] for response in responses}) == len(responses)
        return {response["id"]: response for response in responses}

    @property
    def files(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file()]

    def change_answers(self) -> None:
        """Change all stored answers, as if the tools had changed since, so that they can be told from the server's."""
        (file,) = self.files
        body = file.read_bytes().partition(b"\n")[2].replace(b"list_sessions", b"show_sessions")
        file.write_bytes(sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path, forked("-m", "mcp_sessions"))


def tool_names(response: Frame) -> list[str]:
    return [tool["name"] for tool in response["result"]["tools"]]


@pytest.mark.parametrize(
    ("opening", "is_forked"), [(HANDSHAKE, False), (DISCOVERY, True)], ids=["handshake", "discover"]
)
def test_the_second_start_gives_the_same_answers_from_the_cache(
    opening: list[Frame], tmp_path: Path, *, is_forked: bool
) -> None:
    command = forked("-m", "mcp_sessions") if is_forked else [sys.executable, "-m", "mcp_sessions"]
    installed = Installation(tmp_path, command)
    first = installed.start(opening)
    assert installed.start(opening) == first
    assert installed.logged == ""
    installed.change_answers()
    changed = installed.start(opening)
    assert tool_names(changed[2])[0] == "show_sessions"
    assert "the cached answer to tools/list was out of date" in installed.logged
    assert installed.notified == (["notifications/tools/list_changed"] if opening is HANDSHAKE else [])
    assert installed.start(opening) == first


def test_calls_are_made_once_and_by_the_server(installed: Installation) -> None:
    created = call(3, "create_session", name="Trip to Rome")
    for _ in range(2):
        assert "result" in installed.start([*HANDSHAKE, created, call(4, "list_sessions")])[3]
    (file,) = installed.files
    assert "Trip to Rome" not in file.read_text()
    with closing(sqlite3.connect(installed.folder / "data/mcp-sessions/sessions.db")) as database:
        assert database.execute("select count(*) from sessions").fetchone() == (2,)


def test_settings_that_change_the_tools_have_their_own_answers(installed: Installation) -> None:
    writing = installed.start(HANDSHAKE)
    reading = installed.start(HANDSHAKE, "--read-only")
    assert set(tool_names(reading[2])) < set(tool_names(writing[2]))
    assert installed.start(HANDSHAKE, "--read-only") == reading
    assert len(installed.files) == 2


def test_a_start_that_fails_is_answered_early_only_once(installed: Installation) -> None:
    installed.start(HANDSHAKE)
    store = installed.folder / "data/mcp-sessions/sessions.db"
    store.unlink()
    store.mkdir()
    assert installed.start(HANDSHAKE, status=2).keys() == {1, 2}
    assert installed.start(HANDSHAKE, status=2) == {}
    assert "--backend" in installed.logged


def test_without_a_cache_folder_the_server_works(installed: Installation) -> None:
    installed.cache.touch()
    for _ in range(2):
        assert installed.start(HANDSHAKE).keys() == {1, 2}
        assert installed.logged == ""


def test_no_credential_is_in_the_cache(installed: Installation) -> None:
    settings = ("--backend", "agentos+http://127.0.0.1:1")
    installed.start(HANDSHAKE, *settings, MCP_SESSIONS_TOKEN="a-secret-token")
    (file,) = installed.files
    assert "a-secret-token" not in file.read_text()
    installed.start(HANDSHAKE, *settings, MCP_SESSIONS_TOKEN="another-token")
    assert installed.files == [file]


def hash_of(**environ: str) -> str:
    return settings_hash(Settings.read({}, environ), environ)


@pytest.mark.parametrize(
    ("backend", "name", "values"),
    [
        ("postgresql://user:one@host/db", "MCP_SESSIONS_BACKEND", ("postgresql://user:two@host/db",)),
        ("postgresql://host/db?password=one", "MCP_SESSIONS_BACKEND", ("postgresql://host/db?password=two",)),
        ("work=agentos+http://host", "MCP_SESSIONS_TOKEN_WORK", ("one", "two")),
        ("agentos+http://host", "MCP_SESSIONS_TOKEN", ("one", "two")),
        ("agentos+http://host", "MCP_SESSIONS_STATE_KEY", ("1" * 32, "2" * 32)),
        ("agentos+http://host", "HTTPS_PROXY", ("http://user:one@proxy", "http://user:two@proxy")),
        ("postgresql://host/db", "PGPASSWORD", ("one", "two")),
        ("sqlite:///a.db", "MCP_SESSIONS_SESSION", ("one", "two")),
    ],
)
def test_the_name_of_the_file_does_not_depend_on_credentials_and_the_session(
    backend: str, name: str, values: tuple[str, ...]
) -> None:
    environ = {"MCP_SESSIONS_BACKEND": backend}
    assert {hash_of(**environ | {name: value}) for value in values} == {hash_of(**environ)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MCP_SESSIONS_BACKEND", "postgresql://host/other"),
        ("MCP_SESSIONS_TOOLSETS", "all"),
        ("MCP_SESSIONS_CONFIRM", "off"),
        ("PGOPTIONS", "-c search_path=other"),
    ],
)
def test_the_name_of_the_file_depends_on_all_other_settings(name: str, value: str) -> None:
    environ = {"MCP_SESSIONS_BACKEND": "postgresql://host/db"}
    assert hash_of(**environ | {name: value}) != hash_of(**environ)
