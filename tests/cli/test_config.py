"""`mcp-sessions config CLIENT`: a client can read the snippet, and it starts a server."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_sessions.cli.main import main
from mcp_sessions.cli.parser import CLIENTS
from mcp_sessions.config.settings import Settings

from ..support.snippets import printed, read

HOSTILE = "Zoë \"x\" 'y' \\ $HOME `id` %s ${z}\n[table]\t\x7f天気\r#"
KEPT = HOSTILE.replace("$HOME", "HOME").replace("${z}", "z")  # no client replaces anything in it
SECRET = "hunter2-" * 8
EVERY = pytest.mark.parametrize("client", CLIENTS)


REFERENCES = {
    "claude-code": "${{{}}}",
    "claude-desktop": "REPLACE-WITH-YOUR-{}",
    "cursor": "${{env:{}}}",
    "vscode": "${{input:{}}}",
    "opencode": "{{env:{}}}",
    "gemini": "${{{}}}",
    "qwen": "${{{}}}",
    "copilot": "${{{}}}",
}
"""How each client's configuration names a variable with a secret; Codex lists the names."""


def assert_secret_is_named(client: str, name: str, snippet: str) -> None:
    server = read(client, snippet)
    if client == "codex":
        assert name in server["env_vars"]
        assert name not in server.get("env", {})
    else:
        assert server["env"][name] == REFERENCES[client].format(name)
    if client == "vscode":
        assert name in [asked["id"] for asked in json.loads(snippet)["inputs"] if asked["password"]]


@EVERY
def test_a_snippet_contains_the_given_settings(client: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {"user": KEPT, "session": KEPT[::-1], "toolsets": "all", "timeout": "2.5", "redact": "off"}
    given = [word for name, text in flags.items() for word in (f"--{name}", text)]
    server = read(client, printed(capsys, client, *given, "--read-only")[0])
    assert Settings.read({}, server["env"]) == Settings.read({**flags, "read_only": "on"}, {})
    assert "MCP_SESSIONS_CONFIRM" not in server["env"]


@pytest.mark.parametrize(
    ("client", "text"),
    [
        *((client, "a ${HOME} b") for client in CLIENTS if client not in ("claude-desktop", "codex", "opencode")),
        *((client, "a $HOME b") for client in ("gemini", "qwen", "copilot")),
        *(("opencode", f"a {{{kind}:HOME}} b") for kind in ("env", "file")),
    ],
)
def test_a_value_that_a_client_would_substitute_is_refused(
    client: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", client, "--user", text], {}) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "MCP_SESSIONS_USER can't be 'a " in said.err


@pytest.mark.parametrize("client", [client for client in CLIENTS if client not in ("claude-code", "codex", "opencode")])
def test_a_snippet_for_the_defaults_names_the_default_store_of_this_shell(
    client: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    shown, said = printed(capsys, client)
    server = read(client, shown)
    assert server["env"] == {"MCP_SESSIONS_BACKEND": f"sqlite:///{tmp_path}/data/mcp-sessions/sessions.db"}
    assert server["command"] == sys.executable
    assert "run this in a shell" in said or "add this to " in said
    assert "REPLACE" not in said + shown


@pytest.mark.parametrize(
    ("client", "variable", "url"),
    [
        ("claude-code", "CLAUDE_CONFIG_DIR", "claude-code:"),
        ("codex", "CODEX_HOME", "codex:"),
        ("opencode", "XDG_DATA_HOME", "opencode:"),
    ],
)
def test_a_snippet_for_a_client_with_sessions_of_its_own_names_these_unless_a_backend_is_given(
    client: str,
    variable: str,
    url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv(variable, str(tmp_path / "folder"))
    shown, said = printed(capsys, client, "--read-only")
    environment = {"MCP_SESSIONS_BACKEND": url, "MCP_SESSIONS_READ_ONLY": "on", variable: str(tmp_path / "folder")}
    assert read(client, shown)["env"].items() >= environment.items()
    assert "To choose others, add --backend URL." in said
    store = f"sqlite:///{os.environ['XDG_DATA_HOME']}/mcp-sessions/sessions.db"
    for given in (["--backend", store], ["--user", "ada"]):
        shown, said = printed(capsys, client, *given)
        assert read(client, shown)["env"]["MCP_SESSIONS_BACKEND"] == store
        assert "--backend" not in said


@EVERY
def test_a_path_that_is_not_utf_8_is_kept_in_a_snippet(client: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = "sqlite:////srv/%FFa/s.db"
    assert read(client, printed(capsys, client, "--backend", url)[0])["env"] == {"MCP_SESSIONS_BACKEND": url}


@EVERY
def test_the_environment_variables_a_backend_needs_are_in_the_snippet(
    client: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pgpass").touch()
    monkeypatch.chdir(tmp_path)
    given = {"PGHOST": "db.example", "PGPASSFILE": "pgpass", "HTTPS_PROXY": "http://proxy.example", "OTHER": "x"}
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    env = read(client, printed(capsys, client, "--backend", "postgresql://ada@/sessions")[0])["env"]
    assert (env["PGHOST"], env["PGPASSFILE"]) == ("db.example", str(tmp_path / "pgpass"))
    assert not {"HTTPS_PROXY", "OTHER"} & env.keys()
    for trusts in (False, True):
        backend = ["--backend", "agentos+https://agents.example", *(["--trust-env"] if trusts else [])]
        assert ("HTTPS_PROXY" in read(client, printed(capsys, client, *backend)[0])["env"]) is trusts
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{SECRET}@proxy.example")
    shown, said = printed(capsys, client, "--backend", "agentos+https://agents.example", "--trust-env")
    assert "hunter2" not in shown + said
    assert_secret_is_named(client, "HTTPS_PROXY", shown)


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
def test_a_snippet_contains_no_secret(client: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"MCP_SESSIONS_TOKEN": SECRET, "MCP_SESSIONS_STATE_KEY": SECRET, "MCP_SESSIONS_BACKEND": url}
    shown, said = printed(capsys, client, **environ)
    assert "hunter2" not in shown + said
    assert said.endswith("Replace PASSWORD with your own.\n")
    assert_secret_is_named(client, "MCP_SESSIONS_TOKEN", shown)
    env = read(client, shown)["env"]
    assert env["MCP_SESSIONS_BACKEND"].startswith("postgresql://ada")
    assert "@db.example/sessions?sslmode=require" in env["MCP_SESSIONS_BACKEND"]
    assert "PASSWORD" in env["MCP_SESSIONS_BACKEND"]


@EVERY
def test_a_snippet_refers_to_the_variable_of_a_password(
    client: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    shown, said = printed(capsys, client, "--backend", "postgresql://ada@db.example/sessions")
    assert_secret_is_named(client, "PGPASSWORD", shown)
    assert "PGPASSWORD" in said or "REPLACE-WITH-" in said
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
def test_a_snippet_for_http_has_the_servers_url(
    client: str, arguments: Sequence[str], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, said = printed(capsys, client, "--transport", "http", *arguments)
    server = read(client, shown)
    if client == "claude-desktop":
        assert (server["command"], server["args"][:3]) == ("npx", ["-y", "mcp-remote", url])
    else:
        assert server["httpUrl" if client == "qwen" else "url"] == url
    if client == "codex":
        bearers = [server.get("bearer_token_env_var")]
        bearer = "SESSIONS_TOKEN"
    else:
        bearers = [*server.get("headers", {}).values(), *server.get("env", {}).values()]
        bearer = f"Bearer {REFERENCES[client].format('SESSIONS_TOKEN')}"
    assert (bearer in bearers) is ("--jwt-issuer" in arguments)
    assert "Start the server yourself: mcp-sessions serve" in said


@EVERY
def test_a_snippet_has_the_header_for_the_callers_own_credential(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokens").touch()
    given = ["--transport", "http", "--tokens", str(tmp_path / "tokens"), "--own-credentials"]
    shown, _ = printed(capsys, client, *given)
    assert "X-Backend-Authorization" in shown


def test_paths_in_a_snippet_are_absolute(
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
        (["--tokens", "x"], "--tokens has no effect over stdio"),
        (["--backend", "nonsense:x"], "--backend: no backend has this URL"),
        (["--user", "\udcff"], "--user can't be '\\udcff': it accepts text in UTF-8"),
    ],
)
def test_the_error_about_settings_that_no_client_can_use_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "cursor", *arguments], {}) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"mcp-sessions: {line}")


@pytest.mark.slow
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
