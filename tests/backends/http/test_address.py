"""Valid URLs and credentials of a backend, and ids in paths."""

import re

import httpx2
import pytest

from mcp_sessions.backends.http.client import HttpClient, path
from mcp_sessions.backends.http.credentials import Credential
from mcp_sessions.errors import Invalid, Unsupported
from tests.support.servers.toxic_server import toxic_server

IDS = ["a b", "a%2Fb", "ü€😀", "a?b#c", "a\\b", "a;b=c", ".a", "a..b", "%2E", "~a", "x" * 512]
NO_ADDRESSES = [
    *(
        "",
        "localhost",
        "localhost:7777",
        "ftp://localhost",
        "file:///etc/passwd",
        "http://",
        "https:///x",
        "http://[::1",
    ),
    *("http://localhost/#x", "http://localhost:0", "http://localhost:99999", "http://local\r\nhost", "http://a b"),
]


def test_a_path_consists_of_its_segments() -> None:
    assert path("sessions", "a-1", "runs") == "/sessions/a-1/runs"


@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_a_segment_of_dots_is_encoded(dots: str) -> None:
    assert path("sessions", dots) == "/sessions/" + "%2E" * len(dots)


@pytest.mark.parametrize("segment", IDS)
def test_a_segment_stays_one_segment(segment: str) -> None:
    assert re.fullmatch(r"/sessions/[A-Za-z0-9%._~-]+", path("sessions", segment))
    assert httpx2.URL("http://host" + path("sessions", segment, "runs")).path == f"/sessions/{segment}/runs"


@pytest.mark.parametrize(
    ("segment", "obstacle"),
    [
        ("", "is empty"),
        *((segment, 'contains "/"') for segment in ("a/b", "/")),
        *((f"a{char}", "contains a control character") for char in "\n\0\x7f\x85"),
        ("\ud800", "contains an unpaired surrogate"),
        ("x" * 513, "has more than 512 characters"),
    ],
)
def test_an_id_that_no_path_can_contain_is_unsupported(segment: str, obstacle: str) -> None:
    with pytest.raises(Unsupported, match=f" {obstacle}, so it can't be part of a URL") as caught:
        path("sessions", segment)
    assert caught.value.text.isprintable()


async def test_encoded_dots_and_percent_signs_arrive_unchanged() -> None:
    async with toxic_server() as server, HttpClient(f"{server.url}/os/", system="AgentOS") as client:
        await client.read(path("sessions", ".."), params={"q": "a&b=ü", "limit": 5})
        await client.read(path("sessions", "a%2Fb"))
    assert [one.target for one in server.received] == [
        "/os/sessions/%2E%2E?q=a%26b%3D%C3%BC&limit=5",
        "/os/sessions/a%252Fb",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@localhost:7777",
        "http://hunter2@localhost",
        "http://localhost:7777?api_key=hunter2",
        "http://localhost:7777?db_id=x&access%5Ftoken=hunter2",
        "https://host/?Password=hunter2",
    ],
)
def test_a_credential_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Invalid, match="MCP_SESSIONS_TOKEN") as caught:
        HttpClient(url, system="AgentOS")
    assert "hunter2" not in caught.value.text


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_a_malformed_address_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        HttpClient(url, system="AgentOS")


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "0.0.0.0", "2130706433", "localhost.example.org", "[::]"])
def test_plain_http_to_another_machine_must_be_allowed(host: str) -> None:
    with pytest.raises(Invalid, match=r"allow it with \?allow_http=on"):
        HttpClient(f"http://{host}:7777", system="AgentOS")
    HttpClient(f"http://{host}:7777", system="AgentOS", allow_http=True)
    HttpClient(f"https://{host}:7777", system="AgentOS")


@pytest.mark.parametrize("url", ["http://localhost:7777", "HTTP://127.0.0.2/os/", "http://[::1]:80", "https://host"])
def test_https_and_this_machine_are_allowed_without_an_option(url: str) -> None:
    HttpClient(url, system="AgentOS", credential=Credential("t"))


@pytest.mark.parametrize("token", ["hunter2\n", "hunter 2", "hunter2\r\nX: y", "hunter2ü", "\0hunter2"])
def test_a_token_that_no_header_can_contain_is_invalid_and_not_shown(token: str) -> None:
    with pytest.raises(Invalid, match="MCP_SESSIONS_TOKEN") as caught:
        HttpClient("http://localhost", system="AgentOS", credential=Credential(token))
    assert "hunter" not in caught.value.text


@pytest.mark.parametrize("headers", [{"X-A": "hunter2\r\nY: z"}, {"X A": "1"}, {"": "1"}, {"X-A": " 1"}, {"X-A": "ü"}])
def test_a_header_that_cannot_be_sent_is_invalid(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        HttpClient("http://localhost", system="AgentOS", headers=headers)
    assert "hunter" not in caught.value.text


async def test_every_request_has_the_credential_and_the_given_headers() -> None:
    given = {"X-Tenant": "a b"}
    async with (
        toxic_server() as server,
        HttpClient(server.url, system="A", credential=Credential("hunter2"), headers=given) as client,
    ):
        await client.read("/sessions")
        await client.change("PATCH", "/sessions/a", json={"name": "ü"})
    read, change = server.received
    assert read.headers["authorization"] == change.headers["authorization"] == "Bearer hunter2"
    assert read.headers["x-tenant"] == "a b"
    assert read.headers["accept-encoding"] == "identity"
    assert (change.method, change.body) == ("PATCH", '{"name":"ü"}'.encode())
    assert change.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content", [{"name": "\ud800"}, {"number": float("nan")}])
async def test_content_that_cannot_be_sent_is_invalid_and_nothing_is_sent(content: dict[str, object]) -> None:
    async with toxic_server() as server, HttpClient(server.url, system="AgentOS") as client:
        with pytest.raises(Invalid):
            await client.change("PATCH", "/sessions/a", json=content)
        with pytest.raises(Invalid):
            await client.read("/sessions", params={"name": "\ud800"})
        with pytest.raises(Invalid):
            await client.read("/sessions", params={"name": "x" * 100_000})
    assert server.connections == 0
