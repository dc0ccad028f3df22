"""Every example runs unchanged."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from mcp_sessions.cli import parser
from mcp_sessions.cli.main import main
from mcp_sessions.config.settings import SETTINGS
from tests.support.http_server import running
from tests.support.servers.agentos_process import VARIABLE, are_installed

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIENTS = EXAMPLES / "clients"
DOCKERFILE = EXAMPLES.parent / "Dockerfile"


def run(name: str, *arguments: str, python: str = sys.executable, **environment: str) -> str:
    done = subprocess.run(
        [python, str(EXAMPLES / name), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_the_server_can_be_embedded_in_a_program(tmp_path: Path) -> None:
    found = json.loads(run("embedded.py", str(tmp_path / "sessions.db")))
    assert [hit["snippet"] for hit in found["hits"]] == ["Two fixes and a faster search."]
    assert json.loads(run("embedded.py"))["complete"] is True


@pytest.mark.slow
def test_a_custom_backend_is_served(tmp_path: Path) -> None:
    said = {"name": "Trip", "user_id": "ada", "messages": [{"role": "user", "text": "Where to?"}]}
    (tmp_path / "s1.json").write_text(json.dumps(said), encoding="utf-8")
    (session,) = json.loads(run("custom_backend.py", str(tmp_path)))["sessions"]
    assert (session["id"], session["name"], session["user_id"]) == ("s1", "Trip", "ada")


if are_installed():  # else it is not there, rather than skipped

    def test_an_agent_on_agentos_names_its_own_session_in_the_middle_of_a_run() -> None:
        python = Path(os.environ[VARIABLE]).expanduser() / "agentos-3.1.10" / "bin" / "python"
        command = shlex.join([sys.executable, "-m", "mcp_sessions"])
        shown = run("agentos.py", python=str(python), MCP_SESSIONS_COMMAND=command)
        assert '"resolved_from":"header"' in shown
        assert shown.splitlines()[-1] == "And a little later: Plan the Lisbon trip"


@pytest.mark.parametrize("file", sorted(CLIENTS.iterdir()), ids=lambda file: file.name)
def test_the_example_configuration_of_a_client_is_what_the_command_prints(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/mcp-sessions"])
    monkeypatch.delenv("XDG_DATA_HOME")  # it would be in the configuration
    given = ["--backend", "agentos+http://127.0.0.1:7777", "--user", "ada"]
    assert main(["config", file.stem, *given], {"MCP_SESSIONS_TOKEN": "OSK-1"}) == 0
    printed = capsys.readouterr().out
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        file.write_text(printed, encoding="utf-8")
    assert printed == file.read_text(encoding="utf-8")


def test_each_client_has_an_example() -> None:
    assert {file.stem for file in CLIENTS.iterdir()} == set(parser.CLIENTS)


@pytest.mark.parametrize("file", [EXAMPLES / "compose.yaml", DOCKERFILE], ids=lambda file: file.name)
def test_container_files_name_existing_settings(file: Path) -> None:
    named = set(re.findall(r"MCP_SESSIONS_[A-Z_]+", file.read_text(encoding="utf-8")))
    assert named
    assert named <= {option.variable for option in SETTINGS.values()}


async def test_the_health_check_of_a_container_asks_its_server(tmp_path: Path) -> None:
    lines = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", "")
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (.*)$", lines, re.MULTILINE)
    command = [sys.executable, *json.loads(check)[1:]]
    async with running(tmp_path) as server:
        environment = {**os.environ, "MCP_SESSIONS_PORT": server.root.rpartition(":")[2]}
        assert (await anyio.run_process(command, env=environment, check=False)).returncode == 0
    assert (await anyio.run_process(command, env=environment, check=False)).returncode == 1


def test_every_example_is_run_by_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))
