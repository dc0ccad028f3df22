"""`mcp-sessions doctor`: its report on each backend and on authentication. It changes nothing."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.backend_type import BackendType, OpenContext
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.options import BackendOptions
from mcp_sessions.backends.registry import BACKENDS
from mcp_sessions.cli.main import main

from ..support.doctor import TOKEN, Examine, names, text_of
from ..support.fakes.agentos import FakeAgentOs
from ..support.fakes.guayaba import FakeGuayaba
from ..support.fakes.http import Request, Response
from ..support.http_tokens import add
from ..support.jwt_issuer import KEYS, RSA, jwk, jwks, publishing


@pytest.mark.parametrize(
    ("version", "key", "status", "warnings"),
    [
        ("3.1.10", TOKEN, 0, ["users"]),
        ("3.1.10", "", 0, ["credential", "users"]),
        ("2.5.6", TOKEN, 0, ["operations"] * 4 + ["users"]),
        ("3.1.10", "another", 1, []),
    ],
)
async def test_the_version_of_an_agentos_and_its_authentication_are_reported(
    examined: Examine, version: Any, key: str, status: int, warnings: list[str]
) -> None:
    async with FakeAgentOs(version, security_key=key) as fake:
        run = partial(examined, "--backend", f"agentos+{fake.url}", TOKEN=TOKEN)
        ended, told = await run_sync(run)
        assert {request.method for request in fake.requests} == {"GET"}
    assert (ended, names(told, "warning")) == (status, warnings)
    assert names(told, "failed") == ["backend"] * status
    if version == "3.1.10":
        assert ("ok", "version: AgentOS answers; the version of agno is 3.1.10.") in told
    if not status:
        assert "14 of 15, without append_messages" in text_of(told, "operations", "ok")


async def test_no_warning_is_given_about_an_agentos_with_user_isolation(examined: Examine) -> None:
    class Isolating(FakeAgentOs):
        def _answer(self, request: Request) -> Response:
            answer = super()._answer(request)
            return replace(answer, body=answer.body.replace(b'"user_isolation":false', b'"user_isolation":true'))

    async with Isolating(security_key=TOKEN) as fake:
        _, told = await run_sync(partial(examined, "--backend", f"agentos+{fake.url}", TOKEN=TOKEN))
    assert names(told, "warning") == []


async def test_the_scopes_of_a_guayaba_key_are_reported(examined: Examine, tmp_path: Path) -> None:
    (tmp_path / "agents").write_text('{"ada": ["00000000-0000-4000-8000-000000000000"]}')
    async with FakeGuayaba() as fake:
        url = f"guayaba+{fake.url}"
        run = partial(examined, "--backend", url, "--agents", str(tmp_path / "agents"), TOKEN=fake.master_key)
        status, told = await run_sync(run)
        assert (status, names(told, "warning")) == (0, ["agents"])
        assert "can't reach 00000000-0000-4000-8000-000000000000" in text_of(told, "agents", "warning")
        assert f"{len(fake.agents)} could be listed." in text_of(told, "agents", "ok")
        narrow = fake.agent_key(fake.agents[0], scopes=("chat",))
        url += f"?agent={fake.agents[0].id}"
        own = fake.agent_key(fake.agents[0])
        status, told = await run_sync(partial(examined, "--backend", url, TOKEN=own))
        assert (status, names(told, "ok")) == (0, ["overlay", "credential", "index", "operations", "tools", "callers"])
        status, told = await run_sync(partial(examined, "--backend", url, TOKEN=narrow))
        assert (status, fake.sent_changes) == (1, [])
        assert "scope" in text_of(told, "backend", "failed")


@pytest.mark.parametrize("scheme", ["agentos+http", "guayaba+http"])
def test_plain_http_to_another_machine_is_a_warning(examined: Examine, scheme: str) -> None:
    status, told = examined("--backend", f"{scheme}://nowhere.invalid", "--allow-http", TOKEN=TOKEN)
    assert (status, names(told, "warning"), names(told, "failed")) == (1, ["encryption"], ["backend"])


@pytest.mark.parametrize("system", [FakeAgentOs, FakeGuayaba])
async def test_credentials_of_callers_are_not_tested(
    examined: Examine, system: type[FakeAgentOs] | type[FakeGuayaba], tmp_path: Path
) -> None:
    add(tmp_path / "tokens", "ada")
    (tmp_path / "agents").write_text('{"ada": []}')
    given = ["--transport", "http", "--tokens", str(tmp_path / "tokens"), "--own-credentials"]
    async with system() as fake:
        url = f"{'guayaba' if isinstance(fake, FakeGuayaba) else 'agentos'}+{fake.url}"
        run = partial(examined, "--backend", url, *given, "--agents", str(tmp_path / "agents"))
        status, told = await run_sync(run)
    assert (status, names(told, "warning")) == (0, [])
    assert "each caller has its own" in text_of(told, "credential", "ok")


@pytest.mark.parametrize("scheme", ["agentos+http", "guayaba+http", "postgresql"])
def test_a_hanging_backend_fails_after_the_timeout(examined: Examine, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x"
        status, told = examined("--backend", url, "--timeout", "0.3", TOKEN=TOKEN)
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "did not answer within 0.3 s" in text_of(told, "backend", "failed")


def test_a_custom_backend_is_checked_by_a_call(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(SessionBackend):
        title = "a backend of one's own"

        async def check_reachable(self) -> None: ...

    backend = Own()

    def open_own(url: str, options: BackendOptions, context: OpenContext) -> SessionBackend:
        backend.options = options
        return backend

    monkeypatch.setitem(BACKENDS, "own", BackendType(BackendOptions, open_own))
    status, told = examined("--backend", "own:")
    assert (status, text_of(told, "backend", "ok")) == (0, "backend: a backend of one's own answers.")
    monkeypatch.setattr(backend, "check_reachable", anyio.sleep_forever)
    status, told = examined("--backend", "own:", "--timeout", "0.1")
    assert (status, names(told, "failed")) == (1, ["backend"])
    assert "0.1 s" in text_of(told, "backend", "failed")

    async def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "check_reachable", interrupted)
    status, told = examined("--backend", "own:")
    assert (status, names(told, "ok")) == (130, ["overlay"])


async def test_authentication_over_http_is_reported(examined: Examine, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    add(tokens, "ada")
    add(tokens, "bob", expires=datetime.now(UTC) - timedelta(days=1))
    over_http = ["--backend", "sqlite:///:memory:", "--transport", "http", "--tokens", str(tokens)]
    given = [*over_http, "--host", "0.0.0.0", "--allowed-host", "sessions.example"]
    status, told = await run_sync(examined, *given)
    assert (status, names(told, "warning")) == (0, ["store", "callers"])
    assert text_of(told, "tokens", "ok") == "tokens: 1 valid, 1 expired."
    assert "MCP_SESSIONS_STATE_KEY is not set" in text_of(told, "callers", "warning")
    tokens.write_text("")
    _, told = await run_sync(examined, *over_http)
    assert "tokens" in names(told, "warning")


@pytest.mark.parametrize(
    ("name", "said"), [("new", "ok"), ("no/such", "failed"), ("", "failed"), ("a" * 300, "failed")]
)
def test_the_audit_log_file_is_checked(examined: Examine, tmp_path: Path, name: str, said: str) -> None:
    status, told = examined("--backend", "sqlite:///:memory:", "--audit", str(tmp_path / name))
    assert (status, told[-1][0]) == (0 if said == "ok" else 1, said)
    assert told[-1][1].startswith("audit: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "said"), [(200, "ok"), (500, "failed")])
async def test_the_keys_of_an_issuer_are_fetched(
    examined: Examine, status: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with publishing(lambda _: Response(status, KEYS)) as (url, _):
        jwt = ["--jwt-issuer", "https://i.example", "--jwt-audience", "a", "--jwt-jwks", f"{url}?apikey=hunter2"]
        ended, told = await run_sync(examined, "--backend", "sqlite:///:memory:", "--transport", "http", *jwt)
    assert (ended, told[-1][0]) == (0 if said == "ok" else 1, said)
    assert told[-1][1].startswith("issuer: ")
    assert "hunter2" not in caplog.text


async def test_keys_for_none_of_the_allowed_algorithms_fail_the_check(examined: Examine) -> None:
    async with publishing(lambda _: Response(200, jwks(jwk(RSA, "rsa")))) as (url, _):
        jwt = ["--jwt-issuer", "https://i.example", "--jwt-audience", "a", "--jwt-jwks", url]
        given = [*jwt, "--jwt-algorithms", "EdDSA"]
        ended, told = await run_sync(examined, "--backend", "sqlite:///:memory:", "--transport", "http", *given)
    assert ended == 1
    assert text_of(told, "issuer", "failed").startswith("issuer: none of its public keys is for EdDSA")


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"\\xe9.db"])
def test_a_closed_output_or_an_ascii_locale_causes_no_traceback(said: bytes, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if not said:
        os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "mcp_sessions", "doctor", "--backend", "sqlite:///é.db"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0 if said else 1, b"")
    if said:
        with os.fdopen(reading, "rb") as stream:
            assert said in stream.read()


def test_a_misspelt_variable_is_a_warning(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SESSIONS_USR", "ada")
    ended, told = examined("--backend", "sqlite:///:memory:")
    text = "MCP_SESSIONS_USR is not a setting and has no effect; the most similar setting is MCP_SESSIONS_USER."
    assert (ended, text_of(told, "settings", "warning")) == (0, f"settings: {text}")


def test_a_variable_that_is_like_no_setting_is_a_warning_that_names_none(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_SESSIONS_FOO", "ada")
    ended, told = examined("--backend", "sqlite:///:memory:")
    text = "MCP_SESSIONS_FOO is not a setting and has no effect; --help lists the settings."
    assert (ended, text_of(told, "settings", "warning")) == (0, f"settings: {text}")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--backend", "http://127.0.0.1:7777"], "--backend: the URL must name the system. Write agentos+http://"),
        (
            ["--backend", "/srv/sessions.db"],
            "--backend: this is not a URL. For a store in a file, write sqlite:///PATH",
        ),
        (["--backend", "nonsense:x"], "--backend: no backend has this URL"),
        (["--tokens", "x"], "--tokens has no effect over stdio"),
        (["--transport", "http", "--host", "0.0.0.0"], "--host can't be '0.0.0.0': others could reach it"),
        (["--backend", "agentos+http://u:hunter2@h"], "--backend: the backend's URL contains a credential"),
    ],
)
def test_the_error_about_settings_that_prevent_a_start_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments], {}) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"mcp-sessions: {line}")
    assert "hunter2" not in said.err
