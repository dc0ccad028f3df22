"""Which folder a URL names."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Invalid, Unavailable

from ...support.claude_transcripts import Transcript
from .folders import listed, opened

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def write_session(root: Path, name: str) -> None:
    transcript = Transcript()
    transcript.prompt(name, NOW)
    transcript.write(root, NOW)


async def test_without_a_path_it_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_session(tmp_path / "home/.claude", "in the home folder")
    write_session(tmp_path / "other", "in another one")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable, name in (("", "in the home folder"), (str(tmp_path / "other"), "in another one")):
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", variable)
        async with open_backend("claude-code:?timeout=5") as backend:
            assert [row.name for row in await listed(backend)] == [name]


async def test_a_path_can_have_any_characters(tmp_path: Path) -> None:
    write_session(tmp_path / "a b?%ü", "found")
    async with open_backend(f"claude-code://{tmp_path}/a%20b%3F%25%C3%BC") as backend:
        assert [row.name for row in await listed(backend)] == ["found"]


@pytest.mark.parametrize(
    "url",
    ["claude-code:/path", "claude-code://host/path", "claude-code:///", "claude-code:///a%00b", "claude-code:?x=1"],
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_backend(url)


async def test_a_folder_without_sessions_is_empty_and_one_that_is_not_there_can_not_be_reached(tmp_path: Path) -> None:
    async with opened(tmp_path) as backend:
        await backend.check_reachable()
        assert await listed(backend) == ()
    async with opened(tmp_path / "none") as backend:
        with pytest.raises(Unavailable, match="CLAUDE_CONFIG_DIR"):
            await backend.check_reachable()
