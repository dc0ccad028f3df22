"""`mcp-sessions doctor`: what it says of each backend and of who may call, and that it changes nothing."""

import socket
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends import BACKENDS
from mcp_sessions.backends.base import Options, SessionBackend
from mcp_sessions.cli import main

from .backends.files import connected, contents, opened
from .fakes.agentos import FakeAgentOs
from .fakes.guayaba import FakeGuayaba
from .fakes.http import Response
from .http_tokens import add
from .issuer import KEYS, publishing

Told = list[tuple[str, str]]
Examine = Callable[..., tuple[int, Told]]
TOKEN = "hunter2-the-token"
STDIO = ("ok", "callers: whoever starts the server, over stdio, sees everybody's sessions.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def examined(capsys: pytest.CaptureFixture[str]) -> Examine:
    """The exit status for these arguments and variables, and of each line the status and the rest."""

    def examine(*arguments: str, **environ: str) -> tuple[int, Told]:
        status = main(["doctor", *arguments], {f"MCP_SESSIONS_{name}": value for name, value in environ.items()})
        said = capsys.readouterr()
        assert "hunter2" not in said.out + said.err
        heading, *lines = said.out.splitlines()
        assert heading.startswith("mcp-sessions ")
        return status, [(line[:7].strip(), line[9:]) for line in lines]

    return examine


def names(told: Told, status: str) -> list[str]:
    return [text.partition(":")[0] for said, text in told if said == status]


def text_of(told: Told, name: str, status: str) -> str:
    return next(text for said, text in told if (said, text.partition(":")[0]) == (status, name))


def test_a_file_that_is_yet_to_be_made_is_not_made(examined: Examine, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sessions.db"
    status, told = examined("--backend", f"sqlite:///{path}")
    assert (status, told[-2:]) == (0, [("ok", "operations: all 15."), STDIO])
    assert ("ok", f"store: there is no {path} yet; the first start makes it.") in told
    assert contents(tmp_path) == {}


async def test_a_store_is_left_as_it_is(examined: Examine, path: Path) -> None:
    async with opened(path) as store:
        await store.create_session(name="Kept")
    before = contents(path.parent)
    status, told = await run_sync(examined, "--backend", f"sqlite:///{path}")
    assert (status, names(told, "failed"), names(told, "warning")) == (0, [], [])
    assert ("ok", f"store: {path}: version 1 of its shape.") in told
    assert contents(path.parent) == before


@pytest.mark.parametrize(
    ("version", "status"), [((3, 51, 2), "warning"), ((3, 51, 3), "ok")], ids=["with the bug", "without"]
)
async def test_a_write_ahead_log_that_sqlite_can_damage_is_warned_of(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], status: str
) -> None:
    async with opened(path):
        pass
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    _, told = await run_sync(examined, "--backend", f"sqlite:///{path}")
    assert "write-ahead log" in text_of(told, "journal", status)


def test_rights_that_are_too_many_or_too_few_are_told(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch(0o644)
    assert names(examined("--backend", f"sqlite:///{path}")[1], "warning") == ["permissions"]

    def nothing_may_be_written(*_: object) -> bool:
        return False  # who runs the tests may be root, who may all

    monkeypatch.setattr("os.access", nothing_may_be_written)
    status, told = examined("--backend", f"sqlite:///{path}")
    assert (status, names(told, "warning")) == (0, ["permissions", "permissions"])
    status, told = examined("--backend", f"sqlite:///{path}.other")
    assert (status, names(told, "failed")) == (1, ["backend"])


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        ("CREATE TABLE notes (text)", "something else than sessions"),
        ("PRAGMA user_version = 99", "something else than sessions"),
        ("PRAGMA application_id = 1835233395; PRAGMA user_version = 99", "newer mcp-sessions"),
    ],
)
def test_a_file_that_is_no_store_of_ours_fails(examined: Examine, path: Path, spoil: str, text: str) -> None:
    with connected(path) as connection:
        connection.executescript(spoil)
    before = contents(path.parent)
    status, told = examined("--backend", f"sqlite:///{path}")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert text in text_of(told, "backend", "failed")
    assert contents(path.parent) == before


def test_what_the_next_start_will_do_to_a_file_is_told(examined: Examine, path: Path) -> None:
    path.touch()
    assert "empty; the next start makes the store" in text_of(
        examined("--backend", f"sqlite:///{path}")[1], "store", "ok"
    )
    assert examined("--backend", "sqlite:///:memory:")[1][1][0] == "warning"


def test_a_filesystem_that_may_be_a_networks_is_warned_of(
    examined: Examine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.backends.sql.sqlite_wal._LOCAL_FILESYSTEMS", frozenset[str]())
    assert names(examined("--backend", f"sqlite:///{path}")[1], "warning") == ["filesystem"]


@pytest.mark.parametrize(
    ("version", "key", "status", "warnings"),
    [
        ("3.1.10", TOKEN, 0, ["users"]),
        ("3.1.10", "", 0, ["credential", "users"]),
        ("2.5.6", TOKEN, 0, ["version"] * 4 + ["users"]),
        ("3.1.10", "another", 1, []),
    ],
)
async def test_an_agentos_tells_its_version_and_whom_it_lets_in(
    examined: Examine, version: Any, key: str, status: int, warnings: list[str]
) -> None:
    async with FakeAgentOs(version, security_key=key) as fake:
        run = partial(examined, "--backend", f"agentos+{fake.url}", TOKEN=TOKEN)
        ended, told = await run_sync(run)
        assert {request.method for request in fake.requests} == {"GET"}
    assert (ended, names(told, "warning")) == (status, warnings)
    assert names(told, "failed") == ["backend"] * status
    if version == "3.1.10":
        assert ("ok", "version: AgentOS runs agno 3.1.10.") in told
    if not status:
        assert "14 of 15, without append_messages" in text_of(told, "operations", "ok")


async def test_a_guayaba_tells_whether_the_key_has_the_scope(examined: Examine, tmp_path: Path) -> None:
    (tmp_path / "agents").write_text('{"ada": ["00000000-0000-4000-8000-000000000000"]}')
    async with FakeGuayaba() as fake:
        url = f"guayaba+{fake.url}"
        run = partial(examined, "--backend", url, "--agents", str(tmp_path / "agents"), TOKEN=fake.master_key)
        status, told = await run_sync(run)
        assert (status, names(told, "warning")) == (0, ["agents"])
        assert "has no 00000000-0000-4000-8000-000000000000" in text_of(told, "agents", "warning")
        assert f"the key's owner has {len(fake.agents)}." in text_of(told, "agents", "ok")
        narrow = fake.agent_key(fake.agents[0], scopes=("chat",))
        url += f"?agent={fake.agents[0].id}"
        status, told = await run_sync(partial(examined, "--backend", url, TOKEN=narrow))
        assert (status, fake.sent_changes) == (1, [])
        assert "scope" in text_of(told, "backend", "failed")


@pytest.mark.parametrize("scheme", ["agentos+http", "guayaba+http", "postgresql"])
def test_a_backend_that_hangs_is_given_up(examined: Examine, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x"
        status, told = examined("--backend", url, "--timeout", "0.3", TOKEN=TOKEN)
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "did not answer within 0.3 s" in text_of(told, "backend", "failed")


def test_a_file_that_another_program_keeps_locked_is_given_up(examined: Examine, path: Path) -> None:
    with connected(path) as connection:
        connection.executescript("CREATE TABLE notes (text); BEGIN EXCLUSIVE")
        status, told = examined("--backend", f"sqlite:///{path}", "--timeout", "0.1")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "kept the store locked for 0.1 s" in text_of(told, "backend", "failed")


def test_a_backend_of_ones_own_is_examined_by_reaching_it(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(SessionBackend):
        title = "a backend of one's own"
        silent = False

        async def check_reachable(self) -> None:
            if self.silent:
                await anyio.sleep_forever()

    backend = Own()

    def opener(url: str, options: Options) -> SessionBackend:
        return backend

    monkeypatch.setitem(BACKENDS, "own", ("tests.test_doctor:opener", ""))
    monkeypatch.setattr("tests.test_doctor.opener", opener, raising=False)
    status, told = examined("--backend", "own:")
    assert (status, told[0]) == (0, ("ok", "backend: a backend of one's own answers."))
    backend.silent = True
    status, told = examined("--backend", "own:", "--timeout", "0.1")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "0.1 s" in text_of(told, "backend", "failed")


async def test_who_may_call_over_http_is_told(examined: Examine, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    add(tokens, "ada")
    add(tokens, "bob", expires=datetime.now(UTC) - timedelta(days=1))
    over_http = ["--backend", "sqlite:///:memory:", "--transport", "http", "--tokens", str(tokens)]
    given = [*over_http, "--host", "0.0.0.0", "--allowed-host", "sessions.example"]
    status, told = await run_sync(examined, *given)
    assert (status, names(told, "warning")) == (0, ["store", "callers"])
    assert text_of(told, "tokens", "ok") == "tokens: 1 let somebody in, 1 have expired."
    assert "MCP_SESSIONS_STATE_KEY is not set" in text_of(told, "callers", "warning")
    tokens.write_text("")
    _, told = await run_sync(examined, *over_http)
    assert "tokens" in names(told, "warning")


@pytest.mark.parametrize(("status", "said"), [(200, "ok"), (500, "failed")])
async def test_an_issuers_keys_are_fetched(examined: Examine, status: int, said: str) -> None:
    async with publishing(lambda _: Response(status, KEYS)) as (url, _):
        jwt = ["--jwt-issuer", "https://i.example", "--jwt-audience", "a", "--jwt-jwks", url]
        ended, told = await run_sync(examined, "--backend", "sqlite:///:memory:", "--transport", "http", *jwt)
    assert (ended, told[-1][0]) == (0 if said == "ok" else 1, said)
    assert told[-1][1].startswith("issuer: ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--backend", "nonsense"], "--backend: no backend is known"),
        (["--tokens", "x"], "--tokens lets nobody in over stdio"),
        (["--transport", "http", "--host", "0.0.0.0"], "--host can't be '0.0.0.0': others could reach it"),
        (["--backend", "agentos+http://u:hunter2@h"], "--backend: the backend's URL holds a credential"),
    ],
)
def test_settings_that_nothing_can_be_started_with_are_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments], {}) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"mcp-sessions: {line}")
    assert "hunter2" not in said.err
