"""What `mcp-sessions browse` serves over HTTP, to whom, and when it ends."""

import re
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256

import anyio
import httpx2
import pytest
from starlette.responses import Response
from trio.testing import MockClock

from mcp_sessions import create_server, open_backend
from mcp_sessions.pages import sessions_page
from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.http.page import PageApp, serve_page
from mcp_sessions.transports.http.server import listen
from tests.support.http_tokens import ACCEPT
from tests.support.stdio_client import modern

CALL = {**ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}


class Site:
    """A running page: its address, the token of its link, and a client without one."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self.root, _, self.link_token = url.partition("/#")
        self.http = http

    async def exchange(self, token: str) -> httpx2.Response:
        return await self.http.post("/token", headers={"Authorization": f"Bearer {token}"})

    async def call(self, token: str, **headers: str) -> httpx2.Response:
        given = {**CALL, "Authorization": f"Bearer {token}", **headers}
        return await self.http.post("/mcp", json=modern(1, "tools/list"), headers=given)


@asynccontextmanager
async def site() -> AsyncGenerator[Site]:
    backend = open_backend()
    announced: list[str] = []
    with listen("127.0.0.1", 0, AccessRules()) as listener:
        async with anyio.create_task_group() as tasks, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            is_ready = anyio.Event()

            def announce(url: str) -> None:
                announced.append(url)
                is_ready.set()

            tasks.start_soon(serve_page, create_server(backend), listener, backend.check_reachable, announce)
            await is_ready.wait()
            served = Site(announced[0], http)
            http.base_url = httpx2.URL(served.root)
            yield served
            tasks.cancel_scope.cancel()


async def test_the_links_token_opens_the_page_once() -> None:
    async with site() as served:
        first, second = await served.exchange(served.link_token), await served.exchange(served.link_token)
        assert (first.status_code, second.status_code) == (200, 401)
        assert first.headers["cache-control"] == "no-store"
        assert (await served.call(first.json()["token"])).status_code == 200
        assert (await served.call(served.link_token)).status_code == 401


@pytest.mark.parametrize("token", ["wrong", "ä"])
async def test_another_token_opens_nothing_and_leaves_the_link_valid(token: str) -> None:
    async with site() as served:
        guess = {b"Authorization": f"Bearer {token}".encode()}
        assert [(await served.http.post(path, headers=guess)).status_code for path in ("/token", "/mcp")] == [401, 401]
        assert (await served.http.post("/mcp", json=modern(1, "tools/list"), headers=CALL)).status_code == 401
        assert (await served.exchange(served.link_token)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:{port}", "127.0.0.1:1"])
async def test_a_foreign_host_is_refused(host: str) -> None:
    async with site() as served:
        token = (await served.exchange(served.link_token)).json()["token"]
        named = {"Host": host.format(port=served.root.rpartition(":")[2])}
        assert (await served.http.get("/", headers=named)).status_code == 421
        assert (await served.call(token, **named)).status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:{port}"])
async def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    async with site() as served:
        token = (await served.exchange(served.link_token)).json()["token"]
        named = {"Origin": origin.format(port=served.root.rpartition(":")[2])}
        assert (await served.call(token, **named)).status_code == 403
        assert (await served.call(token, Origin=served.root)).status_code == 200


async def test_the_policy_allows_the_pages_own_script_and_style_and_calls_of_its_server() -> None:
    async with site() as served:
        page = await served.http.get("/")
        missing = await served.http.get("/sessions.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert missing.status_code == 404
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        assert policy.pop(rule) == f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
    assert policy == {
        **dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"), "'none'"),
        "connect-src": "'self'",
        "img-src": "data:",
        "require-trusted-types-for": "'script'",
    }
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_it_ends_when_no_request_has_arrived_for_a_while() -> None:
    backend = open_backend()
    with listen("127.0.0.1", 0, AccessRules()) as listener, anyio.fail_after(20):
        ended_by = await serve_page(
            create_server(backend), listener, backend.check_reachable, lambda url: None, idle_seconds=0.05
        )
        assert ended_by == 0


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["mock clock"])
async def test_a_request_postpones_the_end() -> None:
    page = PageApp(Response(), sessions_page([], "local_server"), idle_seconds=60)
    transport = httpx2.ASGITransport(page)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://page") as http,
        anyio.create_task_group() as tasks,
    ):

        async def read_later() -> None:
            await anyio.sleep(45)
            await http.get("/")

        tasks.start_soon(read_later)
        began_at = anyio.current_time()
        await page.wait_until_idle()
        assert anyio.current_time() - began_at == pytest.approx(45 + 60)
