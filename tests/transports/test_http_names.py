"""The hosts that a server accepts, so that no web page reaches it by DNS rebinding."""

import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_sessions.config.settings import BadSetting
from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.auth.bearer import Authentication
from mcp_sessions.transports.http.server import listen
from tests.support.http_server import Server, running
from tests.support.http_tokens import ACCEPT, LIST, add, logged

NAMED = ("sessions.example", "[2001:db8::1]:8443")


@pytest.fixture(scope="module", params=["0.0.0.0", "::"])
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("names")
    given = ["--port", "0", "--host", request.param, "--tokens", str(folder / "tokens")]
    token = add(folder / "tokens", "ada")
    names = [word for name in NAMED for word in ("--allowed-host", name)]
    async with running(folder, *given, *names, "--audit", str(folder / "audit"), deadline=300) as server:
        yield server, token


async def statuses(served: tuple[Server, str], path: str, **headers: str) -> int:
    server, token = served
    url = f"http://127.0.0.1:{server.root.rpartition(':')[2]}{path}"
    async with httpx2.AsyncClient(
        trust_env=False, verify=False, headers={"Authorization": f"Bearer {token}", **ACCEPT}
    ) as http:
        send = http.post(url, json=LIST, headers=headers) if path == "/mcp" else http.get(url, headers=headers)
        return (await send).status_code


@pytest.mark.parametrize("host", ["sessions.example", "sessions.example:443", "[2001:db8::1]:8443"])
async def test_a_public_server_accepts_only_its_configured_hosts(host: str, served: tuple[Server, str]) -> None:
    for path in ("/mcp", "/healthz", "/readyz"):
        assert await statuses(served, path, Host=host) == 200
        for scheme in ("http", "https"):
            assert await statuses(served, path, Host=host, Origin=f"{scheme}://{host}") == 200
        for origin in ("null", "http://evil.example", "https://sessions.example.evil.example", "file://", "http://"):
            assert await statuses(served, path, Host=host, Origin=origin) == 403
        assert await statuses(served, path, Host=host, Origin="http://localhost") == (403 if path == "/mcp" else 200)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]"])
async def test_only_the_probes_of_a_public_server_accept_loopback_hosts(host: str, served: tuple[Server, str]) -> None:
    assert await statuses(served, "/mcp", Host=host) == 421
    for path in ("/healthz", "/readyz"):
        assert await statuses(served, path, Host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "sessions.example.evil.example",
            "evil.example:443",
            "xsessions.example",
            "sessions.example.",
        ),
        *(
            "10.0.0.1",
            "[2001:db8::1]",
            "[2001:db8::1]:8444",
            "[2001:db8::1]:84430",
            "2001:db8::1",
            "*",
            "sessions",
            "%00",
        ),
        *("sessions.example@evil.example", "sessions.example, evil.example", "user@sessions.example", "\xe9", "127.1"),
    ],
)
async def test_other_hosts_are_refused_whatever_the_token(host: str, served: tuple[Server, str]) -> None:
    for path in ("/mcp", "/healthz", "/readyz"):
        async with httpx2.AsyncClient(
            trust_env=False, verify=False, headers={"Authorization": f"Bearer {served[1]}", **ACCEPT}
        ) as http:
            url = f"http://127.0.0.1:{served[0].root.rpartition(':')[2]}{path}"
            raw = [(b"Host", host.encode("latin-1"))]
            send = http.post(url, json=LIST, headers=raw) if path == "/mcp" else http.get(url, headers=raw)
            assert (await send).status_code == 421


@pytest.mark.parametrize("hosts", ["", "Host: sessions.example\r\nHost: evil.example\r\n", "Host:\r\n"])
async def test_a_request_must_name_one_host(hosts: str, served: tuple[Server, str]) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", int(served[0].root.rpartition(":")[2]))
    async with stream:
        await stream.send(f"GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        with anyio.fail_after(5):
            answer = await stream.receive()
    assert answer.split(b" ")[1] in (b"400", b"421")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_the_error_about_an_incomplete_public_server_names_the_missing_setting(host: str) -> None:
    authentication = Authentication(verifiers=[])
    with pytest.raises(BadSetting) as refused:
        listen(host, 0, AccessRules())
    assert "authentication (--tokens or --jwt-issuer) and the host" in str(refused.value)
    with pytest.raises(BadSetting) as refused:
        listen(host, 0, AccessRules(allowed_hosts=["sessions.example"]))
    assert "requires authentication (--tokens or --jwt-issuer). Without" in str(refused.value)
    with pytest.raises(BadSetting) as refused:
        listen(host, 0, AccessRules(authentication=authentication))
    assert "which requires the host in the URL that they call (--allowed-host). Without" in str(refused.value)
    if host != "192.0.2.1":
        with listen(host, 0, AccessRules(authentication=authentication, allowed_hosts=["a.example"])) as listener:
            assert listener.type == socket.SOCK_STREAM


async def test_a_local_server_accepts_the_host_of_a_proxy(tmp_path: Path) -> None:
    async with running(tmp_path, "--port", "0", "--allowed-host", "Sessions.Example") as server:
        for host, expected in (("sessions.example", 200), ("127.0.0.1", 200), ("evil.example", 421)):
            assert await statuses((server, "none"), "/mcp", Host=host) == expected
        assert await statuses((server, "none"), "/mcp", Host="localhost", Origin="https://sessions.example") == 200
        assert await statuses((server, "none"), "/mcp", Host="localhost", Origin="https://evil.example") == 403


async def test_terminal_escapes_in_a_host_are_not_logged(tmp_path: Path) -> None:
    async with logged(tmp_path) as (url, log), httpx2.AsyncClient(trust_env=False, verify=False) as http:
        for name in (b"Host", b"Origin"):
            hostile = b"evil\x1b[2J\x9b31m\x85ERROR forged"
            assert (await http.post(url, json=LIST, headers=[(name, hostile)])).status_code in (403, 421)
    errors = await anyio.Path(log).read_text(encoding="utf-8")
    assert errors.count("evil�[2j�31m�error forged") == 2
    assert not [char for char in errors if not char.isprintable() and char != "\n"]
