"""The documentation's commands for PostgreSQL, unchanged except for addresses, ports and waiting."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.support.http_calls import calls
from tests.support.http_server import COMMAND, ROOT, running

from ..support.copied_store import copy, fill
from ..support.databases import EmptyDatabase
from ..support.doctor import Examine
from .documents import blocks_of, commands_in

NAME = "mcp-sessions "
DEPLOYING = ROOT / "docs" / "deploying.md"
COPYING = ROOT / "docs" / "copying.md"
POSTGRESQL = ROOT / "docs" / "backends" / "postgresql.md"


def block(page: Path, first: str) -> list[str]:
    """Return the commands of the block that begins with these words."""
    (found,) = [content for _, content in blocks_of(page) if content.startswith(first)]
    return commands_in(found)


def exported(lines: list[str]) -> dict[str, str]:
    words = [word for line in lines if line.startswith("export ") for word in shlex.split(line, comments=True)[1:]]
    return dict(word.split("=", 1) for word in words)


def run(lines: list[str], folder: Path) -> None:
    program = f"{shlex.quote(sys.executable)} -m mcp_sessions"
    script = "\n".join(["set -e", f'mcp-sessions() {{ {program} "$@"; }}', *lines])
    subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60
    )


def secret() -> str:
    made = subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, encoding="ascii", check=True)
    return made.stdout.strip()


async def is_ready(command: str, root: str) -> bool:
    """Return whether curl's command for a replica's readiness, sent to the replica at `root`, is answered with 200."""
    program, option, header, url = shlex.split(command)
    assert (program, option) == ("curl", "-H")
    name, _, value = header.partition(": ")
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        return (await http.get(root + httpx2.URL(url).path, headers={name: value})).status_code == 200


async def test_the_steps_for_two_replicas_work_and_share_tokens(postgres: EmptyDatabase, tmp_path: Path) -> None:
    lines = block(DEPLOYING, "pip install")
    ready, _ = block(DEPLOYING, "curl")
    assert lines[0] == "pip install '.[postgres]' && createdb sessions"
    run([line for line in lines if "ada.token" in line], tmp_path)
    token = (tmp_path / "ada.token").read_text().splitlines()[0]
    variables = exported(lines)
    assert variables["MCP_SESSIONS_BACKEND"] == "postgresql:///sessions"
    assert variables["MCP_SESSIONS_STATE_KEY"] == "$(openssl rand -base64 32)"
    variables |= {
        "MCP_SESSIONS_BACKEND": postgres.url,
        "MCP_SESSIONS_TOKENS": str(tmp_path / variables["MCP_SESSIONS_TOKENS"]),
        "MCP_SESSIONS_STATE_KEY": secret(),
    }
    serves = [line.removeprefix(NAME).removesuffix(" &") for line in lines if line.startswith("mcp-sessions serve")]
    assert len(serves) == 2
    first, second = [shlex.split(re.sub(r"--port \d+", "--port 0", serve))[1:] for serve in serves]
    host = {"Host": variables["MCP_SESSIONS_ALLOWED_HOST"]}
    command = COMMAND[:-2]
    async with (
        running(tmp_path, *first, command=command, variables=variables) as one,
        running(tmp_path, *second, command=command, variables=variables) as other,
        calls(one.url.replace("0.0.0.0", "127.0.0.1"), token=token) as here,
        calls(other.url.replace("0.0.0.0", "127.0.0.1"), token=token) as there,
    ):
        assert await is_ready(ready, one.root.replace("0.0.0.0", "127.0.0.1"))
        made = await here.call("create_session", headers=host, name="made here")
        assert made["user_id"] == "ada"
        shown = await there.call("get_session", headers=host, session_id=made["id"])
        assert shown["name"] == "made here"


def test_the_check_of_a_connection_passes(postgres: EmptyDatabase, examined: Examine) -> None:
    install, check = block(POSTGRESQL, "pip install")
    assert install == "pip install '.[postgres]'"
    _, command, *arguments = shlex.split(check.replace("postgresql:///sessions", postgres.url))
    assert command == "doctor"
    status, _ = examined(*arguments)
    assert status == 0


async def test_the_command_for_copying_a_store_works(postgres: EmptyDatabase, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/sessions.db"
    await fill(source)
    (command,) = block(COPYING, "mcp-sessions copy --from sqlite:")
    _, name, origin, _, target, _ = words = shlex.split(command)
    assert (name, origin, target) == ("copy", "--from", "--to")
    assert (words[3], words[5]) == ("sqlite:////srv/sessions.db", "postgresql:///sessions")
    done = copy(source, postgres.url)
    assert done.status == 0, done.err
    assert done.out.startswith("12 sessions ")
