"""What `mcp-sessions config CLIENT` prints, and the server in it as that client reads it."""

import json
import shlex
import tomllib
from typing import Any

import pytest

from mcp_sessions.cli.main import main


def read(client: str, snippet: str) -> dict[str, Any]:
    """Return the server in a snippet."""
    match client:
        case "claude-code":
            *words, last = shlex.split(snippet)
            assert words == ["claude", "mcp", "add-json", "--scope", "user", "sessions"]
            return json.loads(last)
        case "vscode":
            return json.loads(snippet)["servers"]["sessions"]
        case "codex":
            return tomllib.loads(snippet)["mcp_servers"]["sessions"]
        case "opencode":
            server = json.loads(snippet)["mcp"]["sessions"]
            if server["type"] == "remote":
                return server
            (command, *args), env = server["command"], server.get("environment", {})
            return {"type": "local", "command": command, "args": args, "env": env}
        case _:
            return json.loads(snippet)["mcpServers"]["sessions"]


def printed(capsys: pytest.CaptureFixture[str], client: str, *arguments: str, **environ: str) -> tuple[str, str]:
    assert main(["config", client, *arguments], environ) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.out, said.err
