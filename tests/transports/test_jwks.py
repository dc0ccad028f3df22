"""The keys of an issuer by URL: how often they are fetched, and what happens while the issuer is down."""

import asyncio
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_sessions.transports.auth.jwt import KeySet
from tests.support.fakes.http import Response
from tests.support.http_server import running
from tests.support.http_tokens import add, answer, status
from tests.support.jwt_issuer import AUDIENCE, ISSUER, KEYS, RSA, RSA_2, jwk, jwks, publishing, signed, status_with

LET_IN = 405
FLAGS = ["--port", "0", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a failed fetch be repeated at once."""
    monkeypatch.setattr("mcp_sessions.transports.auth.jwt._FETCH_INTERVAL", 0)


async def test_keys_are_fetched_once_for_many_tokens_and_not_sooner_for_unknown_keys() -> None:
    async with publishing(lambda request: Response(200, KEYS)) as (url, came):
        let_in = status_with(KeySet(url))
        answers: list[int] = []

        async def ask(kid: str) -> None:
            answers.append((await let_in(signed(kid=kid))).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask, "rsa")
        assert answers == [LET_IN] * 20
        assert len(came) == 1
        answers.clear()
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(ask, f"unknown-{number}")
        assert answers == [401] * 50
        assert len(came) == 1  # not even once more, so soon after the first time
        assert (came[0].method, came[0].target) == ("GET", "/keys")
        assert "authorization" not in came[0].headers


@pytest.mark.usefixtures("without_waiting")
async def test_a_new_key_is_fetched_when_a_token_names_it_and_old_ones_are_dropped() -> None:
    published = jwks(jwk(RSA, "rsa"))
    async with publishing(lambda request: Response(200, published)) as (url, came):
        let_in = status_with(KeySet(url))
        assert (await let_in(signed())).status_code == LET_IN
        assert (await let_in(signed(RSA_2, "second"))).status_code == 401
        published = jwks(jwk(RSA_2, "second"))
        assert (await let_in(signed(RSA_2, "second"))).status_code == LET_IN
        assert (await let_in(signed())).status_code == 401
        assert len(came) == 4


@pytest.mark.usefixtures("without_waiting")
async def test_the_last_keys_are_used_while_the_issuer_is_down() -> None:
    answered = Response(200, KEYS)
    async with publishing(lambda request: answered) as (url, _):
        let_in = status_with(KeySet(url))
        assert (await let_in(signed())).status_code == LET_IN
        answered = Response(500)
        assert (await let_in(signed(kid="unknown"))).status_code == 401
        assert (await let_in(signed())).status_code == LET_IN
    assert (await let_in(signed(kid="unknown"))).status_code == 401
    assert (await let_in(signed())).status_code == LET_IN


BROKEN = {
    "an error": Response(500, b"{}"),
    "a redirect": Response(302, KEYS, {"Location": "/elsewhere"}),
    "nothing": Response(200),
    "no JSON": Response(200, b"<html>"),
    "no text": Response(200, b"\xff\xfe\xff"),
    "depth": Response(200, b"[" * 100_000),
    "no keys": Response(200, b'{"keys": []}'),
    "another shape": Response(200, b'{"keys": {"rsa": 1}}'),
    "a list": Response(200, b"[]"),
    "only shared secrets": Response(200, jwks({"kty": "oct", "k": "AAAA", "kid": "rsa"})),
    "too much": Response(200, KEYS + b" " * 1024 * 1024),
    "half of it": Response(200, KEYS, sent="half"),
    "no answer": Response(200, KEYS, sent="none"),
    "no HTTP": Response(200, b"hello", sent="raw"),
    "a wrong compression": Response(200, KEYS, {"Content-Encoding": "gzip"}),
}


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize("name", BROKEN)
async def test_without_keys_a_client_is_told_to_retry_and_admitted_later(name: str) -> None:
    answered = BROKEN[name]
    async with publishing(lambda request: answered) as (url, came):
        let_in = status_with(KeySet(url))
        said = await let_in(signed())
        assert (said.status_code, said.headers["retry-after"]) == (503, "10")
        assert said.json() == {"error": "temporarily_unavailable"}
        assert "www-authenticate" not in said.headers  # it is to keep its token
        assert {request.path for request in came} == {"/keys"}
        answered = Response(200, KEYS)
        assert (await let_in(signed())).status_code == LET_IN


async def test_a_slow_issuer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_sessions.transports.auth.jwt._FETCH_SECONDS", 0.2)
    pause = asyncio.Event()
    async with publishing(lambda request: Response(200, KEYS, pause=pause)) as (url, _):
        assert (await status_with(KeySet(url))(signed())).status_code == 503
        pause.set()


@pytest.mark.slow
async def test_a_server_starts_without_its_issuer_and_accepts_other_tokens(tmp_path: Path) -> None:
    token = add(tmp_path / "tokens", "ada")
    given = [*FLAGS, "--jwt-jwks", "http://127.0.0.1:9/keys", "--tokens", str(tmp_path / "tokens")]
    async with running(tmp_path, *given) as server:
        said = await answer(server.url, f"Bearer {signed()}")
        assert (said.status_code, said.headers["retry-after"]) == (503, "10")
        assert await status(server.url, f"Bearer {token}") == 200
        assert await status(server.url, "Bearer x") == 401
        assert await status(server.url) == 401
        async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
            assert (await http.get(f"{server.root}/healthz")).status_code == 200
        server.process.terminate()
        _, _, errors = await server.rest()
        assert errors.count("the keys of --jwt-jwks can't be fetched (ConnectError)") == 1
        assert "Traceback" not in errors
        assert "eyJ" not in errors


async def test_a_server_process_accepts_tokens_of_the_published_keys(tmp_path: Path) -> None:
    kids = ("rsa", "x", "y")
    async with (
        publishing(lambda request: Response(200, KEYS)) as (url, came),
        running(tmp_path, *FLAGS, "--jwt-jwks", url) as server,
    ):
        assert [await status(server.url, f"Bearer {signed(kid=kid)}") for kid in kids] == [200, 401, 401]
        assert len(came) == 1
