"""`serve --transport http`: real processes, real clients, and malformed requests."""

import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_sessions import create_server, open_backend
from mcp_sessions.backends.layers.many import Many
from mcp_sessions.config.settings import BadSetting
from mcp_sessions.errors import Unavailable
from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.http.app import http_app
from mcp_sessions.transports.http.server import listen
from tests.layers.faulty import Fault, FaultyBackend
from tests.support.clients import both_eras
from tests.support.fork_server import forked
from tests.support.http_server import COMMAND, DEADLINE, Server, connected, environment, running

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def create(server: Server, name: str) -> str:
    async with connected(server.url) as client:
        created = (await client.call_tool("create_session", {"name": name})).structured_content
        assert created is not None
        return created["id"]


@both_eras
async def test_a_client_renames_the_session_that_its_header_names(era: str, tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        session_id = await create(server, "before")
        async with connected(server.url, era, X_Session_Id=session_id) as client:
            renamed = await client.call_tool("rename_session", {"session_id": "current", "name": "after"})
            assert renamed.structured_content is not None
            assert renamed.structured_content["resolved_from"] == "header"
            shown = await client.call_tool("get_session", {"session_id": session_id})
            assert shown.structured_content is not None
            assert (shown.structured_content["name"], shown.structured_content["is_current"]) == ("after", True)


@pytest.mark.slow
@both_eras
async def test_each_concurrent_call_uses_its_own_header(era: str, tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        ids = [await create(server, f"session {place}") for place in range(8)]
        answered: list[tuple[str, str]] = []

        async def ask(session_id: str) -> None:
            async with connected(server.url, era, X_Session_Id=session_id) as client:
                for _ in range(5):
                    result = await client.call_tool("get_session", {"session_id": "current"})
                    assert result.structured_content is not None
                    answered.append((session_id, result.structured_content["id"]))

        async with anyio.create_task_group() as tasks:
            for session_id in ids:
                tasks.start_soon(ask, session_id)
        assert len(answered) == 40
        assert all(asked == answer for asked, answer in answered)


async def test_only_requests_with_a_host_of_this_machine_are_served(tmp_path: Path) -> None:
    async with running(tmp_path) as server, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        port = server.root.rpartition(":")[2]
        for path, method in (("/mcp", "POST"), ("/mcp", "GET"), ("/healthz", "GET"), ("/readyz", "GET")):
            send = partial(http.request, method, server.root + path, json=LIST if method == "POST" else None)
            served = 405 if (path, method) == ("/mcp", "GET") else 200
            for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
                for origin in ({}, {"Origin": f"http://{host}"}):
                    assert (await send(headers={**ACCEPT, "Host": host, **origin})).status_code == served
            for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"10.0.0.1:{port}"):
                assert (await send(headers={**ACCEPT, "Host": host})).status_code == 421
            for origin in ("http://evil.example", "https://evil.example:8000", "http://localhost.evil.example", "null"):
                assert (await send(headers={**ACCEPT, "Origin": origin})).status_code == 403


async def test_the_probes_report_the_server_and_its_store(tmp_path: Path) -> None:
    async with running(tmp_path) as server, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        health, readiness = [await http.get(server.root + path) for path in ("/healthz", "/readyz")]
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        assert (readiness.status_code, readiness.json()) == (200, {"status": "ready"})


async def test_a_server_whose_backend_does_not_answer_runs_but_is_not_ready() -> None:
    async def check() -> None:
        raise Unavailable("what nobody outside needs to know")

    app = http_app(create_server(open_backend()), "127.0.0.1", check, AccessRules())
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        assert (await http.get("/healthz")).status_code == 200
        readiness = await http.get("/readyz")
        assert (readiness.status_code, readiness.json()) == (503, {"status": "not ready", "reason": "unavailable"})


async def test_a_server_of_several_backends_is_ready_while_one_of_them_answers() -> None:
    one, two = FaultyBackend(open_backend()), FaultyBackend(open_backend())
    async with Many({"": one, "work": two}) as many:
        failures: list[tuple[FaultyBackend, Fault, int]] = [
            (two, "hanging", 200),
            (two, "dead", 200),
            (one, "dead", 503),
        ]
        for failing, fault, status in failures:
            failing.faults.now = fault
            transport = httpx2.ASGITransport(
                http_app(create_server(many), "127.0.0.1", many.check_reachable, AccessRules())
            )
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
                assert (await http.get("/readyz")).status_code == status


def refused(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*forked(*COMMAND[1:]), *arguments],
        env=environment(folder),
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "0", "::ffff:10.0.0.1"])
def test_a_public_address_is_refused(host: str) -> None:
    with pytest.raises(BadSetting, match="others could reach it, which requires authentication"):
        listen(host, 0, AccessRules())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LocalHost"])
def test_every_loopback_address_is_accepted(host: str) -> None:
    with listen(host, 0, AccessRules()) as listener:
        assert listener.getsockname()[1] > 0


def test_a_response_is_sent_without_delay() -> None:
    with listen("127.0.0.1", 0, AccessRules()) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_error_about_a_refused_start_is_one_line(tmp_path: Path) -> None:
    assert refused(tmp_path, "--host", "0.0.0.0").startswith("mcp-sessions: --host can't be '0.0.0.0': others could")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert refused(tmp_path, "--port", port).startswith(f"mcp-sessions: --port can't be {port} on 127.0.0.1: ")
    line = refused(tmp_path, "--port", "0", "--backend", "sqlite:////proc/no/x.db")
    assert line.startswith("mcp-sessions: --backend: the store's folder can't be created")


async def test_the_server_can_listen_on_ipv6(tmp_path: Path) -> None:
    async with running(tmp_path, "--port", "0", "--host", "::1") as server:
        assert server.root.startswith("http://[::1]:")
        assert await create(server, "by the newer protocol")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_ends_the_server_and_its_connections(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    async with running(tmp_path) as server, connected(server.url, "legacy") as client:
        await client.call_tool("list_sessions")
        server.process.send_signal(number)
        assert await server.rest() == (status, "", "")


@pytest.mark.slow
def test_serving_over_stdio_imports_no_http_modules() -> None:
    source = (
        "import sys, mcp_sessions.cli.serve, mcp_sessions.transports.stdio.server\n"
        "print('mcp_sessions.transports.http.server' in sys.modules, 'uvicorn.protocols' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
