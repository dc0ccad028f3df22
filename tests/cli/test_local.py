"""`--backend local:`: all agents on this machine, and the embedded store."""

from pathlib import Path

import pytest
from mcp.client import Client

from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.cli.main import main
from mcp_sessions.config.backend_addresses import read_addresses, split_backends
from mcp_sessions.config.build import build_backend, build_server
from mcp_sessions.config.settings import Settings

from ..backends.claude_code.folders import copy_fixtures as copy_claude_code
from ..backends.codex.homes import copy_fixtures as copy_codex
from ..support.doctor import Examine, text_of
from ..support.snippets import printed, read


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder without sessions, for all agents and the store."""
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def members(*backends: str) -> dict[str, str]:
    return {address.name: address.url for address in read_addresses(backends)}


def test_local_is_each_agent_that_has_sessions_and_the_store_without_a_name(home: Path) -> None:
    store = f"sqlite:///{home}/.local/share/mcp-sessions/sessions.db"
    assert members("local:") == {"": store}
    (home / ".claude/projects").mkdir(parents=True)
    assert members("local:") == {"": store, "claude": "claude-code:"}
    (home / ".codex/sessions").mkdir(parents=True)
    (home / ".local/share/opencode").mkdir(parents=True)
    (home / ".local/share/opencode/opencode.db").touch()
    agents = {"claude": "claude-code:", "codex": "codex:", "opencode": "opencode:"}
    assert members("local:") == {"": store} | agents
    assert members("local:", "work=guayaba:") == {"": store, "work": "guayaba:"} | agents
    assert split_backends("local: work=guayaba:") == ("local:", "work=guayaba:")


@pytest.mark.usefixtures("home")
def test_an_agent_whose_home_is_unknown_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "~nobody-has-this-name/x")
    assert list(members("local:")) == [""]


@pytest.mark.slow
async def test_the_agents_and_the_store_are_one_list(home: Path) -> None:
    copy_claude_code(home).rename(home / ".claude")
    copy_codex(home).rename(home / ".codex")
    settings = Settings.read({"backend": ["local:"]}, {})
    backend = build_backend(settings)
    async with Client(build_server(backend, settings)) as client:
        assert isinstance(backend, Many)
        created = await client.call_tool("create_session", {"name": "Trip to Rome"})
        listed = (await client.call_tool("list_sessions", {"limit": 100})).structured_content
    assert listed is not None
    assert {session.get("backend", "") for session in listed["sessions"]} == {"", "claude", "codex"}
    assert created.structured_content is not None
    assert created.structured_content["id"] in [session["id"] for session in listed["sessions"]]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("command", ["serve", "doctor", "config"])
@pytest.mark.parametrize(
    ("backends", "reason"),
    [
        (["all=local:"], "--backend all=local: can't have a name, since it stands for several"),
        (["local:", "sqlite:///:memory:"], "--backend is given twice with no name"),
    ],
)
def test_local_with_a_name_or_a_second_store_is_refused(
    command: str, backends: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word for backend in backends for word in ("--backend", backend)]
    assert main([command, *(["cursor"] if command == "config" else []), *arguments], {}) == 2
    assert capsys.readouterr().err.startswith(f"mcp-sessions: {reason}")


def test_a_program_is_told_to_name_one_of_the_backends() -> None:
    with pytest.raises(Exception, match="local: stands for several backends"):
        open_backend("local:")


def test_doctor_says_which_agents_it_found(home: Path, examined: Examine) -> None:
    status, told = examined("--backend", "local:")
    assert status == 0
    assert text_of(told, "local", "ok") == "local: no agents on this machine, and the embedded store."
    copy_codex(home).rename(home / ".codex")
    _, told = examined("--backend", "local:")
    assert text_of(told, "local", "ok") == "local: codex on this machine, and the embedded store."


def test_a_snippet_keeps_local_and_the_folders_that_it_depends_on(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(home / "codex"))
    shown, _ = printed(capsys, "cursor", "--backend", "local:")
    assert read("cursor", shown)["env"] == {"MCP_SESSIONS_BACKEND": "local:", "CODEX_HOME": str(home / "codex")}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("client", ["cursor", "vscode", "claude-desktop"])
def test_the_snippet_for_a_client_without_sessions_of_its_own_mentions_local(
    client: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "add --backend local:." in printed(capsys, client)[1]
    assert "local:" not in printed(capsys, client, "--backend", "sqlite:///:memory:")[1]
    assert "local:" not in printed(capsys, client, "--user", "ada")[1]
