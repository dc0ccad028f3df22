"""Every command in the documentation is executed, here or where `ELSEWHERE` says, on fakes of other systems."""

import shlex
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.layers.overlay import OverlayStore

from ..support.fakes.agentos import FakeAgentOs
from ..support.fakes.guayaba import FakeGuayaba
from ..support.fakes.opencode import FakeOpencode
from ..support.fork_server import forked
from ..support.http_server import environment, running
from .documents import PAGES, ROOT, blocks_of, commands_in, name_of

CONTRACT = "tests/contract/test_suite.py"
POSTGRES = "tests/repository/test_deploying_on_postgres.py"
ELSEWHERE = {
    "pip install . && mcp-sessions demo": ".ci/run",
    "pip install -e '.[dev]' && pytest -n 4": ".ci/run",
    "pip install -e '.[dev]'": ".ci/run",
    "scripts/lint": ".ci/run",
    "scripts/test": "tests/repository/test_scripts.py",
    'pytest -n 4 -m "variants or slow"': ".ci/run",
    "pytest -m timing": ".ci/run",
    "pytest -m load": ".ci/run",
    "mcp-sessions browse": "tests/browser/test_browse.py",
    "python examples/custom_backend.py FOLDER": "tests/repository/test_examples.py",
    "python .ci/bundle sessions.mcpb": "tests/repository/test_bundle.py",
    "python .ci/bundle mcp-sessions.mcpb": "tests/repository/test_bundle.py",
    "uv build": ".ci/package",
    "MCP_SESSIONS_CONTRACT=tests.contract.custom:JsonFolderHarness pytest tests/contract": CONTRACT,
    "pip install '.[postgres]' && createdb sessions": POSTGRES,
    "mcp-sessions token new --subject ada --scopes sessions:read,sessions:write,sessions:delete > ada.token": POSTGRES,
    "tail -n 1 ada.token >> tokens.jsonl": POSTGRES,
    "export MCP_SESSIONS_BACKEND=postgresql:///sessions MCP_SESSIONS_TOKENS=tokens.jsonl": POSTGRES,
    "export MCP_SESSIONS_ALLOWED_HOST=sessions.example": POSTGRES,
    'export MCP_SESSIONS_STATE_KEY="$(openssl rand -base64 32)"': POSTGRES,
    "mcp-sessions serve --transport http --host 0.0.0.0 --port 8001 &": POSTGRES,
    "mcp-sessions serve --transport http --host 0.0.0.0 --port 8002 &": POSTGRES,
    "curl -H 'Host: sessions.example' http://127.0.0.1:8001/readyz": POSTGRES,
    "pip install '.[postgres]'": POSTGRES,
    "mcp-sessions doctor --backend postgresql:///sessions": POSTGRES,
    "mcp-sessions copy --from sqlite:////srv/sessions.db --to postgresql:///sessions": POSTGRES,
}
"""command → the file that executes it."""

NOT_EXECUTED = {
    "docker build --tag mcp-sessions .": "needs Docker and its images",
    "docker compose -f examples/compose.yaml up --build": "needs Docker and its images",
    'claude mcp add --transport http sessions https://sessions.example/mcp --header "Authorization: Bearer '
    '$(head -n 1 ada.token)"': "needs Claude Code and a public host",
    "python -m tests.benchmarks": "takes minutes; tests/benchmarks/test_benchmarks.py runs parts of it",
    "uv publish": "publishes",
    "mcp-publisher publish": "publishes",
    "UPDATE_SNAPSHOTS=1 pytest tests/tools/test_policy.py tests/repository": "would change what this run compares",
    "FUZZ_CASES=200000 KILLS=500 FRAMES=100000 CALLS=10000 SESSIONS=100000 SOAK_SECONDS=900 pytest -m load": "is slow",
}
"""command → why no test executes it."""

BLOCKS = [
    pytest.param(commands_in(block), id=f"{name_of(page)}: {commands_in(block)[0]}")
    for page in PAGES
    for language, block in blocks_of(page)
    if language == "sh" and not {*commands_in(block)} <= {*ELSEWHERE, *NOT_EXECUTED}
]


@asynccontextmanager
async def fake_systems() -> AsyncGenerator[dict[str, str]]:
    """Yield what to replace in a command: the addresses of other systems, and a key."""
    async with FakeAgentOs() as agentos, FakeGuayaba() as guayaba, FakeOpencode() as opencode:
        yield {
            "agentos+http://127.0.0.1:7777": f"agentos+{agentos.url}",
            "guayaba:": f"guayaba+{guayaba.url}",
            "opencode+http://127.0.0.1:4096": f"opencode+{opencode.origin}",
            "YOUR-KEY": guayaba.master_key,
            "claude-code:": f"claude-code://{ROOT}/tests/backends/claude_code/fixtures/config",
            "codex:": f"codex://{ROOT}/tests/backends/codex/fixtures/home",
        }


@pytest.mark.parametrize("commands", BLOCKS)
async def test_a_block_of_commands_runs_unchanged(commands: list[str], tmp_path: Path) -> None:
    script = "\n".join(commands)
    if "serve" in script:
        _, *arguments = shlex.split(script)
        async with running(tmp_path, *arguments, "--port", "0", command=forked("-m", "mcp_sessions")):
            return
    if "overlay export" in script:
        async with OverlayStore.from_url(f"sqlite:///{tmp_path}/mcp-sessions/overlay.db") as overlay:
            await overlay.write(lambda tx: None)  # creates it
    async with fake_systems() as replaced:
        for written, used in replaced.items():
            script = script.replace(written, used)
        program = f'mcp-sessions() {{ {shlex.join(forked("-m", "mcp_sessions"))} "$@"; }}'
        with anyio.fail_after(60):
            done = await anyio.run_process(
                ["bash", "-c", f"set -e\n{program}\n{script}"],
                env=environment(tmp_path),
                cwd=tmp_path,
                check=False,
                stderr=subprocess.STDOUT,
            )
    assert done.returncode == 0, done.stdout.decode()


def test_every_exempted_command_is_in_the_documentation() -> None:
    written = {
        command
        for page in PAGES
        for language, block in blocks_of(page)
        if language == "sh"
        for command in commands_in(block)
    }
    assert {*ELSEWHERE, *NOT_EXECUTED} <= written
    assert [file for file in ELSEWHERE.values() if not (ROOT / file).is_file()] == []
    assert BLOCKS
