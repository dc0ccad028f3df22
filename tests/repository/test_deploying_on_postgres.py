"""README's steps to two replicas on PostgreSQL, word for word but for the address, the ports and the waiting."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.http_calls import calls
from tests.support.http_server import COMMAND, ROOT, running

from ..support.databases import EmptyDatabase

NAME = "mcp-sessions "


def steps() -> list[str]:
    section = (ROOT / "README.md").read_text().partition("## Serve many users")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(pip install.*?)```", section, re.DOTALL)
    return block.splitlines()


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


async def test_the_steps_of_readme_lead_to_two_replicas_that_share_what_a_token_may_see(
    postgres: EmptyDatabase, tmp_path: Path
) -> None:
    lines = steps()
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
        made = await here.call("create_session", headers=host, name="made here")
        assert made["user_id"] == "ada"
        shown = await there.call("get_session", headers=host, session_id=made["id"])
        assert shown["name"] == "made here"
