"""Warnings and refusals at the start, where a server would admit more callers than its operator intends."""

from pathlib import Path

import anyio
import pytest

from mcp_sessions import create_server, open_backend
from mcp_sessions.cli.main import main
from mcp_sessions.transports.auth.tokens import TokenFile
from tests.support.http_server import running
from tests.support.http_tokens import add, logged


async def warned(folder: Path, *arguments: str) -> str:
    async with running(folder, "--port", "0", *arguments) as server:
        server.process.terminate()
        _, _, errors = await server.rest()
        return errors


async def test_the_server_logs_whose_sessions_it_serves_and_where(tmp_path: Path) -> None:
    async with logged(tmp_path, "--backend", f"sqlite:///{tmp_path}/s.db") as (url, log):
        said = await anyio.Path(log).read_text("utf-8")
    assert f"\nmcp-sessions: sessions of sqlite:///{tmp_path}/s.db, serving at {url}\n" in f"\n{said}"


async def test_a_public_host_without_authentication_is_a_warning(tmp_path: Path) -> None:
    said = await warned(tmp_path, "--allowed-host", "sessions.example")
    assert said.startswith("mcp-sessions: warning: anybody who can reach sessions.example sees everybody's sessions.")


async def test_replicas_without_a_shared_key_are_a_warning(tmp_path: Path) -> None:
    add(tmp_path / "tokens", "ada")
    access = ["--tokens", str(tmp_path / "tokens"), "--allowed-host", "sessions.example"]
    assert "MCP_SESSIONS_STATE_KEY is not set" in await warned(tmp_path, "--host", "0.0.0.0", *access)
    assert await warned(tmp_path, *access) == ""


def test_a_file_without_tokens_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tokens").write_text("# none yet\n")
    TokenFile(str(tmp_path / "tokens")).check()
    assert "has no tokens yet, so none is accepted" in caplog.text


@pytest.mark.parametrize("flag", ["--tokens", "--jwt-issuer", "--jwt-audience", "--jwt-jwks"])
def test_settings_of_authentication_need_authentication(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", flag, "x"], {}) == 2
    assert capsys.readouterr().err.startswith(f"mcp-sessions: {flag} has no effect over stdio")


@pytest.mark.parametrize("flag", ["--tokens", "--jwt-issuer", "--jwt-audience", "--jwt-jwks", "--audit", "--agents"])
def test_an_empty_value_does_not_turn_authentication_off(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--transport", "http", "--port", "0", flag, ""], {}) == 2
    assert capsys.readouterr().err == (
        f"mcp-sessions: {flag} can't be '': it must not be empty; leave it out instead.\n"
    )


def test_toolsets_given_in_a_program_are_checked() -> None:
    everything = create_server(open_backend(), toolsets=["all"])
    assert everything.is_change("append_messages")
    with pytest.raises(ValueError, match="unknown toolset: everything"):
        create_server(open_backend(), toolsets=["everything"])


def test_the_error_about_the_scheme_postgres_names_postgresql(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--backend", "postgres://localhost/x"], {}) == 2
    assert "Write postgresql://" in capsys.readouterr().err
