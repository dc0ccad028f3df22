"""Replicas with a shared key accept each other's cursors and confirmations."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import httpx2
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequestParams, ElicitResult

from tests.support.clients import text_of
from tests.support.http_calls import calls
from tests.support.http_server import DEADLINE, running
from tests.support.http_tokens import add

KEYS = {"first": "k" * 32, "second": "k" * 32, "stranger": "s" * 32}
OLDER = "2025-06-18"
ERAS = pytest.mark.parametrize("era", ["2026-07-28", OLDER])


class Replicas:
    """URLs by name, on one store, and a token for each user."""

    def __init__(self, urls: dict[str, str], tokens: dict[str, str]) -> None:
        self.urls = urls
        self.tokens = tokens


@pytest.fixture(scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    tokens = {name: add(folder / "tokens", name) for name in ("ada", "bob")}
    given = ["--port", "0", "--tokens", str(folder / "tokens"), "--audit", str(folder / "audit")]
    given += ["--backend", f"sqlite:///{folder}/sessions.db"]
    async with AsyncExitStack() as stack:
        urls: dict[str, str] = {}
        for name, key in KEYS.items():
            variables = {"MCP_SESSIONS_STATE_KEY": key}
            server = await stack.enter_async_context(running(folder, *given, deadline=300, variables=variables))
            urls[name] = server.url
        yield Replicas(urls, tokens)


class Balancer(httpx2.AsyncBaseTransport):
    """Sends each request where, and as whom, it is told to: first as `before`, then, once asked, as `after`."""

    def __init__(self, replicas: Replicas, before: tuple[str, str], after: tuple[str, str]) -> None:
        self._replicas = replicas
        self._inner = httpx2.AsyncHTTPTransport()
        self.now = before
        self._after = after

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.now = self._after
        return ElicitResult(action="accept", content={"confirm": True})

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        name, user = self.now
        url = httpx2.URL(self._replicas.urls[name])
        request.url = request.url.copy_with(port=url.port)
        request.headers["Host"] = url.netloc.decode()
        request.headers["Authorization"] = f"Bearer {self._replicas.tokens[user]}"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def deleted(replicas: Replicas, after: tuple[str, str]) -> str:
    """Return the outcome of ada's deletion, which begins at the first replica and continues at another."""
    async with calls(replicas.urls["first"], token=replicas.tokens["ada"]) as ada:
        id = (await ada.call("create_session", name="asked for"))["id"]
    balancer = Balancer(replicas, ("first", "ada"), after)
    http = httpx2.AsyncClient(transport=balancer, timeout=DEADLINE)
    transport = streamable_http_client(replicas.urls["first"], http_client=http)
    async with http, Client(transport, elicitation_callback=balancer.answer) as client:
        try:
            return text_of(await client.call_tool("delete_session", {"session_id": id}))
        except MCPError as error:
            return error.message
        finally:
            assert balancer.now == after


async def test_a_confirmation_given_at_one_replica_is_valid_at_another(replicas: Replicas) -> None:
    assert "Deleted." in await deleted(replicas, ("second", "ada"))


@pytest.mark.parametrize("after", [("stranger", "ada"), ("second", "bob"), ("first", "bob")])
async def test_a_confirmation_is_not_valid_for_another_key_or_user(after: tuple[str, str], replicas: Replicas) -> None:
    assert await deleted(replicas, after) == "Invalid or expired requestState"


async def test_a_code_of_one_replica_is_accepted_by_another_only_for_its_user(replicas: Replicas) -> None:
    ada, bob = replicas.tokens["ada"], replicas.tokens["bob"]
    async with (
        calls(replicas.urls["first"], OLDER, ada) as first,
        calls(replicas.urls["second"], OLDER, ada) as second,
        calls(replicas.urls["stranger"], OLDER, ada) as stranger,
        calls(replicas.urls["second"], OLDER, bob) as others,
    ):
        id = (await first.call("create_session", name="by code"))["id"]
        said = (await first.result("delete_session", session_id=id))["content"][0]["text"]
        code = said.rpartition('confirm="')[2][:4]
        refused = (await stranger.result("delete_session", session_id=id, confirm=code))["content"][0]["text"]
        assert refused.startswith(f'confirmation_required: "{code}" is not the code for this deletion')
        refused = (await others.result("delete_session", session_id=id, confirm=code))["content"][0]["text"]
        assert refused.startswith("not_found: ")
        assert (await second.call("delete_session", session_id=id, confirm=code))["session_id"]


@ERAS
async def test_a_cursor_of_one_replica_continues_at_another(era: str, replicas: Replicas) -> None:
    ada = replicas.tokens["ada"]
    async with (
        calls(replicas.urls["first"], era, ada) as first,
        calls(replicas.urls["second"], era, ada) as second,
        calls(replicas.urls["stranger"], era, ada) as stranger,
    ):
        ids = {(await first.call("create_session", name=f"walk {era}"))["id"] for _ in range(3)}
        page = await first.call("list_sessions", query=f"walk {era}", limit=2)
        rest = await second.call("list_sessions", query=f"walk {era}", limit=2, cursor=page["next_cursor"])
        assert {session["id"] for session in page["sessions"] + rest["sessions"]} == ids
        refused = await stranger.result("list_sessions", query=f"walk {era}", limit=2, cursor=page["next_cursor"])
        assert refused["content"][0]["text"].startswith('invalid: "cursor" is not one that this tool returned to you')
