"""Tokens for the server: how they are created, what their file may contain, and when they are refused."""

import json
import os
import re
import subprocess
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_sessions.caller import Scope
from mcp_sessions.cli.main import main
from mcp_sessions.config.settings import BadSetting
from mcp_sessions.transports.auth.tokens import TokenFile, new_token
from tests.support.fork_server import forked
from tests.support.http_server import DEADLINE, Server, environment, running
from tests.support.http_tokens import add, answer, logged, status

NEW = ("-m", "mcp_sessions", "token", "new")
LINE = b'{"sha256": "%s", "subject": "%s", "scopes": ["sessions:read"]%s}\n'


def line_of(token: str, subject: bytes = b"ada", more: bytes = b"") -> bytes:
    return LINE % (sha256(token.encode()).hexdigest().encode(), subject, more)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens"


@pytest.fixture(scope="module")
async def server(path: Path) -> AsyncGenerator[Server]:
    add(path, "ada")
    given = ["--port", "0", "--tokens", str(path), "--audit", str(path.parent / "audit")]
    async with running(path.parent, *given, deadline=300) as server:
        yield server


def empty(path: Path) -> None:
    path.write_bytes(b"")


def made(*arguments: str) -> subprocess.CompletedProcess[str]:
    folder = environment(Path("/nowhere"))
    return subprocess.run(
        forked(*NEW, *arguments), env=folder, capture_output=True, encoding="utf-8", timeout=DEADLINE, check=False
    )


async def test_a_new_token_is_shown_once_with_a_line_that_has_only_its_hash(tmp_path: Path) -> None:
    done = made("--subject", "Ada Lövelace", "--scopes", "sessions:write, sessions:read", "--expires", "2099-01-31")
    token, line = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (
        0,
        "The token, which is shown only once, then its line for the file of --tokens:\n",
    )
    assert re.fullmatch(r"mcps_[\w-]{43}", token)
    assert token not in line
    assert json.loads(line) == {
        "sha256": sha256(token.encode()).hexdigest(),
        "subject": "Ada Lövelace",
        "scopes": ["sessions:read", "sessions:write"],
        "expires": "2099-01-31T00:00:00Z",
    }
    await anyio.Path(tmp_path / "tokens").write_text(line, encoding="utf-8")
    identity = await TokenFile(str(tmp_path / "tokens")).verify_token(token)
    assert identity is not None
    assert (identity.subject, identity.scopes) == ("Ada Lövelace", ["sessions:read", "sessions:write"])
    assert token not in repr(identity)
    assert identity.token == ""


def test_new_tokens_are_unique() -> None:
    assert len({new_token("ada", [Scope.READ], None)[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--scopes", "sessions:reed", "it accepts a comma-separated list of sessions:read, "),
        ("--scopes", "", "it accepts a comma-separated list of sessions:read, "),
        ("--scopes", "sessions:read sessions:write", "it accepts a comma-separated list of sessions:read, "),
        ("--expires", "tomorrow", "it accepts a time such as "),
        ("--expires", "2020-01-01", "it is in the past. It accepts a future time."),
        ("--expires", "0001-01-01T00:00+23:59", "it accepts a time such as "),
        ("--expires", "9999-12-31T23:59-23:59", "it accepts a time such as "),
        ("--subject", "", "it accepts up to 512 printable characters."),
        ("--subject", "a\nb", "it accepts up to 512 printable characters."),
        ("--subject", "a" * 513, "it accepts up to 512 printable characters."),
    ],
)
def test_the_error_about_impossible_token_properties_is_one_line(
    flag: str, value: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"--subject": "ada", "--scopes": "sessions:read", flag: value}
    assert main(["token", "new", *(word for pair in given.items() for word in pair)], {}) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"mcp-sessions: {flag} can't be {value[:80]!r}: {reason}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"hunter2",
        b"[]",
        b'{"sha256": "short", "subject": "ada", "scopes": []}',
        line_of("x", b""),
        line_of("x", rb"a\nb"),
        line_of("x", "a\u202eb".encode()),
        line_of("x", b"a" * 513),
        line_of("x", b"\xff"),
        line_of("x", more=b', "scope": "all"'),
        line_of("x", more=b', "expires": "soon"'),
        line_of("x").replace(b"sessions:read", b"sessions:all"),
        line_of("x").replace(b'"scopes"', b'"scope"'),
    ],
)
async def test_a_malformed_line_prevents_the_start_and_is_ignored_later(
    line: bytes, path: Path, server: Server, tmp_path: Path
) -> None:
    parts = [b"\xef\xbb\xbf# \xff a comment\n\n", line_of("good"), line.rstrip(), b"\r\n  # more\n", line_of("last")]
    for file in (path, tmp_path / "tokens"):
        await anyio.Path(file).write_bytes(b"".join(parts))
    with pytest.raises(
        BadSetting, match=r"^--tokens can't be .*: line 4 is not a valid token record\. It accepts a file of lin"
    ):
        TokenFile(str(tmp_path / "tokens")).check()
    assert [await status(server.url, f"Bearer {token}") for token in ("good", "last", "x", "first")] == [
        *(200, 200, 401, 401),
    ]


async def test_a_removed_token_is_refused_from_the_next_request_on(path: Path, server: Server) -> None:
    empty(path)
    file = anyio.Path(path)
    ada, bob = add(path, "ada"), add(path, "bob")
    assert [await status(server.url, f"Bearer {token}") for token in (ada, bob)] == [200, 200]
    lines = (await file.read_text(encoding="utf-8")).splitlines(keepends=True)
    await file.write_text(lines[1], encoding="utf-8")
    assert [await status(server.url, f"Bearer {token}") for token in (ada, bob)] == [401, 200]
    other = file.with_name("new")
    await other.write_text(lines[0], encoding="utf-8")
    await other.replace(path)
    assert [await status(server.url, f"Bearer {token}") for token in (ada, bob)] == [200, 401]
    await file.unlink()
    assert [await status(server.url, f"Bearer {token}") for token in (ada, bob)] == [401, 401]
    await file.mkdir()
    assert await status(server.url, f"Bearer {ada}") == 401
    await file.rmdir()
    await file.write_text(lines[0], encoding="utf-8")
    assert [await status(server.url, f"Bearer {token}") for token in (ada, bob)] == [200, 401]


async def test_a_token_expires_at_the_time_in_its_line(path: Path, server: Server) -> None:
    empty(path)
    now = datetime.now(UTC)
    over = add(path, "ada", expires=now - timedelta(seconds=1))
    lasting = add(path, "ada", expires=now + timedelta(hours=1))
    local = add(path, "ada", expires=(now - timedelta(hours=1)).replace(tzinfo=None))
    assert [await status(server.url, f"Bearer {token}") for token in (over, lasting, local)] == [401, 200, 401]


@pytest.mark.parametrize(
    "header", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {}", "Basic {}", "{}", "Bearer{}", "Token {}", "Bearer"]
)
async def test_only_bearer_tokens_are_accepted(header: str, path: Path, server: Server) -> None:
    empty(path)
    given = header.format(add(path, "ada"))
    assert await status(server.url, given) == (200 if given.lower().startswith("bearer ") and "{" in header else 401)


async def test_a_token_in_another_place_or_twice_is_refused(path: Path, server: Server) -> None:
    empty(path)
    ada, bob = (f"Bearer {add(path, name)}" for name in ("ada", "bob"))
    token = ada.partition(" ")[2]
    assert await status(server.url, ada, bob) == 401
    assert await status(server.url, "Bearer wrong", ada) == 401
    assert await status(server.url, f"{ada}, {bob}") == 401
    for query in ("access_token", "token", "authorization"):
        assert await status(f"{server.url}?{query}={token}") == 401
    assert await status(f"{server.url}?access_token=x", ada) == 200


@pytest.mark.parametrize(
    "token", ["x" * 16_385, "x" * 60_000, "\u00e9", "mcps_", "\x7f", '", error="x', "' or 1=1", "{}", "null", "a\tb"]
)
async def test_an_unknown_token_gets_a_401_that_does_not_show_it(token: str, server: Server) -> None:
    said = await answer(server.url, f"Bearer {token}")
    assert said.status_code == 401
    assert said.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="Authentication required"'
    )
    assert said.json() == {"error": "invalid_token", "error_description": "Authentication required"}


async def test_a_header_of_a_megabyte_is_refused(server: Server) -> None:
    with suppress(httpx2.TransportError):  # it may hang up before it has read all that
        assert await status(server.url, "Bearer " + "x" * 1024 * 1024) == 400
    assert await status(server.url) == 401


async def test_no_token_is_logged_at_any_level(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    ada, gone = add(path, "ada", Scope.READ), "mcps_of-a-stranger"
    async with logged(tmp_path, "--tokens", str(path)) as (url, log):
        assert [await status(url, f"Bearer {token}") for token in (ada, gone)] == [200, 401]
        await anyio.Path(path).write_text(f"{ada}\n", encoding="utf-8")
        assert await status(url, f"Bearer {ada}") == 401
        await anyio.Path(path).unlink()
        assert await status(url, f"Bearer {ada}") == 401
    errors = await anyio.Path(log).read_text(encoding="utf-8")
    assert "DEBUG" in errors
    assert "these lines are not valid token records: [1]" in errors
    assert "can't be read, so no token is accepted" in errors
    assert ada not in errors
    assert gone not in errors
    assert sha256(ada.encode()).hexdigest() not in errors


def test_a_token_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadSetting, match="its content is malformed"):
        TokenFile(str(tmp_path / "pipe")).check()
