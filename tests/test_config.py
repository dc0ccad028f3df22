"""`mcp-sessions config CLIENT`: what it prints is read as that client reads it, and starts a server."""

import json
import shlex
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_sessions.cli import main
from mcp_sessions.command_line import CLIENTS
from mcp_sessions.settings import Settings

HOSTILE = "Zoë \"x\" 'y' \\ $HOME `id` %s ${z}\n[table]\t\x7f天気\r#"
SECRET = "hunter2-" * 8
EVERY = pytest.mark.parametrize("client", CLIENTS)


def read(client: str, snippet: str) -> dict[str, Any]:
    """The server in a snippet."""
    match client:
        case "claude-code":
            *words, last = shlex.split(snippet)
            assert words == ["claude", "mcp", "add-json", "--scope", "user", "sessions"]
            return json.loads(last)
        case "vscode":
            return json.loads(snippet)["servers"]["sessions"]
        case "codex":
            return tomllib.loads(snippet)["mcp_servers"]["sessions"]
        case _:
            return json.loads(snippet)["mcpServers"]["sessions"]


def printed(capsys: pytest.CaptureFixture[str], client: str, *arguments: str, **environ: str) -> tuple[str, str]:
    assert main(["config", client, *arguments], environ) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.out, said.err


@EVERY
def test_a_snippet_means_the_settings_that_it_was_made_with(client: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {"user": HOSTILE, "session": HOSTILE[::-1], "toolsets": "all", "timeout": "2.5", "redact": "off"}
    given = [word for name, text in flags.items() for word in (f"--{name}", text)]
    server = read(client, printed(capsys, client, *given, "--read-only")[0])
    assert Settings.read({}, server["env"]) == Settings.read({**flags, "read_only": "on"}, {})
    assert "MCP_SESSIONS_CONFIRM" not in server["env"]


@EVERY
def test_a_snippet_for_the_defaults_has_nothing_but_the_command(
    client: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, said = printed(capsys, client)
    assert set(read(client, shown)) <= {"command", "args", "type"}
    assert read(client, shown)["command"] == sys.executable
    assert "run this in a shell" in said or "this belongs into " in said
    assert "REPLACE" not in said


@EVERY
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ada:{SECRET}@db.example/sessions?sslmode=require",
        f"postgresql://ada:{SECRET}?#@db.example/sessions?sslmode=require",
        f"postgresql://ada@db.example/sessions?sslmode=require&password={SECRET}",
        f"postgresql://ada@db.example/sessions?sslmode=require&pass%77ord={SECRET}",
    ],
)
def test_no_secret_is_in_a_snippet(client: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"MCP_SESSIONS_TOKEN": SECRET, "MCP_SESSIONS_STATE_KEY": SECRET, "MCP_SESSIONS_BACKEND": url}
    shown, said = printed(capsys, client, **environ)
    assert "hunter2" not in shown + said
    assert said.endswith("Where it says REPLACE-WITH- or PASSWORD, put yours.\n")
    env = read(client, shown)["env"]
    assert env["MCP_SESSIONS_TOKEN"] == "REPLACE-WITH-YOUR-MCP_SESSIONS_TOKEN"
    assert env["MCP_SESSIONS_BACKEND"].startswith("postgresql://ada")
    assert "@db.example/sessions?sslmode=require" in env["MCP_SESSIONS_BACKEND"]
    assert "PASSWORD" in env["MCP_SESSIONS_BACKEND"]


@EVERY
def test_a_password_that_no_client_passes_on_is_asked_for(
    client: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    shown, said = printed(capsys, client, "--backend", "postgresql://ada@db.example/sessions")
    assert read(client, shown)["env"]["PGPASSWORD"] == "REPLACE-WITH-YOUR-PGPASSWORD"
    assert "hunter2" not in shown + said
    assert "PGPASSWORD" not in printed(capsys, client)[0]


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ((), "http://127.0.0.1:8000/mcp"),
        (("--host", "::1", "--port", "81"), "http://[::1]:81/mcp"),
        (("--allowed-host", "sessions.example,b.example"), "https://sessions.example/mcp"),
        (("--allowed-host", "localhost"), "http://127.0.0.1:8000/mcp"),
        (
            (
                *("--jwt-issuer", "https://i.example", "--jwt-jwks", "https://i.example/keys"),
                *("--jwt-audience", "https://sessions.example/deep/mcp"),
            ),
            "https://sessions.example/deep/mcp",
        ),
    ],
)
@EVERY
def test_a_server_over_http_is_called_where_it_is(
    client: str, arguments: Sequence[str], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, said = printed(capsys, client, "--transport", "http", *arguments)
    server = read(client, shown)
    if client == "claude-desktop":
        assert (server["command"], server["args"][:3]) == ("npx", ["-y", "mcp-remote", url])
    else:
        assert server["url"] == url
    bearer = {"bearer_token_env_var": "SESSIONS_TOKEN"} if client == "codex" else "Bearer REPLACE-WITH-YOUR-TOKEN"
    is_there = bearer in [*server.get("headers", {}).values(), *server.get("env", {}).values()]
    is_there |= isinstance(bearer, dict) and bearer.items() <= server.items()
    assert is_there is ("--jwt-issuer" in arguments)
    assert "yours to start: mcp-sessions serve" in said
    assert ("environment" in said) is ("bearer_token_env_var" in server)


@EVERY
def test_a_callers_own_credential_has_its_header(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokens").touch()
    given = ["--transport", "http", "--tokens", str(tmp_path / "tokens"), "--own-credentials"]
    shown, _ = printed(capsys, client, *given)
    assert "X-Backend-Authorization" in shown


def test_files_are_named_so_that_they_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    shown, _ = printed(capsys, "cursor", "--agents", "a.json", "--audit", "-", "--backend", "sqlite:///:memory:")
    env = read("cursor", shown)["env"]
    assert env["MCP_SESSIONS_AGENTS"] == str(tmp_path / "a.json")
    assert (env["MCP_SESSIONS_AUDIT"], env["MCP_SESSIONS_BACKEND"]) == ("-", "sqlite:///:memory:")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--transport", "http", "--port", "0"], "--port can't be 0 here"),
        (["--transport", "http", "--host", "0.0.0.0"], "--host can't be '0.0.0.0': others could reach it"),
        (["--tokens", "x"], "--tokens lets nobody in over stdio"),
        (["--backend", "nonsense:x"], "--backend: no backend is known"),
        (["--user", "\udcff"], "--user can't be '\\udcff': it accepts text in UTF-8"),
    ],
)
def test_settings_that_no_client_could_use_are_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "cursor", *arguments], {}) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"mcp-sessions: {line}")


async def test_a_client_starts_the_server_of_its_snippet_from_another_folder(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("mcp-sessions")
    given = ["--backend", "sqlite:///my%20own.db", "--toolsets", "history"]
    done = await anyio.run_process([script, "config", "codex", *given], cwd=tmp_path)
    server = read("codex", done.stdout.decode())
    assert server["command"] == str(script)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    parameters = StdioServerParameters(
        command=server["command"], args=server["args"], env=server["env"], cwd=str(elsewhere)
    )
    with anyio.fail_after(60):
        async with Client(stdio_client(parameters)) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
    assert tools == ["get_session_history", "get_session_runs"]
    assert (tmp_path / "my own.db").exists()
