"""`--backend local:`: the agents found on this machine and the store, as several backends."""

from contextlib import closing
from pathlib import Path

import pytest

from mcp_sessions.config.build import build_backend
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.models import SessionFilter

from ..contract.harness import Seed
from ..support.fakes.opencode import seeded
from ..support.opencode_database import create, insert
from ..support.snippets import printed, read


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, in which agents and the store have their files."""
    for name in ("HOME", "USERPROFILE", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def local() -> Settings:
    return Settings.read({"backend": ["local:"], "overlay": "off"}, {})


def test_only_agents_that_were_used_here_are_among_the_local_backends(home: Path) -> None:
    (home / ".claude").mkdir()  # where there may be a configuration, but no sessions
    assert local().backend_names == [""]
    for folder in (".claude/projects", ".codex/sessions"):
        (home / folder).mkdir(parents=True)
    assert local().backend_names == ["claude", "codex", ""]


async def test_sessions_of_an_agent_and_of_the_store_are_one_list(home: Path) -> None:
    (home / "opencode").mkdir()
    with closing(create(home / "opencode" / "opencode.db")) as connection, connection:
        (session_id,) = insert(connection, seeded(Seed(name="Trip")))
    async with build_backend(local()) as backend:
        created = await backend.create_session(name="Own")
        found = {session.id: session.name for session in (await backend.list_sessions(SessionFilter())).sessions}
    assert found == {created.id: "Own", f"opencode/{session_id}": "Trip"}


def test_a_name_for_all_local_backends_is_refused(home: Path) -> None:
    with pytest.raises(BadSetting, match="write local: alone"):
        assert Settings.read({"backend": ["mine=local:"]}, {}).backend_names


@pytest.mark.parametrize("client", ["claude-desktop", "cursor", "vscode"])
def test_clients_without_sessions_of_their_own_are_told_of_the_local_backends(
    client: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--backend local:" in printed(capsys, client)[1]
    (home / ".codex" / "sessions").mkdir(parents=True)
    snippet, notes = printed(capsys, client, "--backend", "local:")
    assert "local:" not in notes
    assert "codex=codex:" in read(client, snippet)["env"]["MCP_SESSIONS_BACKEND"]
