"""The version of an AgentOS is detected, and a server that is not an AgentOS is refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcp_sessions.backends.agentos.agno_before_2_6_7 import fetch_any_version
from mcp_sessions.backends.agentos.versions import FORKS, OLDEST, Version
from mcp_sessions.backends.http.client import HttpClient
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import BadResponse, SessionsError, Unauthorized, Unavailable, Unsupported
from mcp_sessions.json_documents import Json

from ...support.faked_agentos import faked, session
from ...support.servers.toxic_server import Answer, Connection, ToxicServer, toxic_server, whole

NOT_FOUND = whole(404, b'{"detail": "Not Found"}')


def says(value: Json) -> Answer:
    return whole(200, json.dumps(value).encode())


async def version_of(*answers: Answer) -> Version:
    """Return the version that is found if `/info` and then `/openapi.json` are answered like this."""
    async with toxic_server(*answers) as server, HttpClient(server.url, system="AgentOS", timeout=5) as http:
        try:
            return await fetch_any_version(http)
        except SessionsError as error:
            failure = error  # which the server's task group would put into a group
    raise failure


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("3.1.10", (3, 1, 10)),
        ("2.5.13", (2, 5, 13)),
        ("3.0.0a3", (3, 0, 0)),
        ("3.2.0rc1", (3, 2, 0)),
        ("2.6.7.post1", (2, 6, 7)),
        ("10.0.0+local", (10, 0, 0)),
    ],
)
async def test_the_version_of_a_server_is_detected(said: str, version: tuple[int, int, int]) -> None:
    assert await version_of(says({"agno_version": said})) == version


@pytest.mark.parametrize(
    "info",
    [
        *(None, [], "3.1.10", 5, {}, {"agno_version": None}, {"agno_version": 3.1}, {"agno_version": ["3.1.10"]}),
        *({"agno_version": text} for text in ("", "3", "3.1", "v3.1.10", "unknown", "99999.0.0", "-1.0.0", " 3.1.10")),
        *({"version": "3.1.10"}, {"status": "ok"}),
    ],
    ids=str,
)
async def test_a_server_without_a_version_is_not_an_agentos(info: Json) -> None:
    with pytest.raises(BadResponse, match="not an AgentOS"):
        await version_of(says(info))


@pytest.mark.parametrize("body", [b"", b"<html>Welcome</html>", b'{"agno_version": "3.1.10"', b"\xff\xfe"])
async def test_a_web_page_is_not_an_agentos(body: bytes) -> None:
    with pytest.raises(BadResponse):
        await version_of(whole(200, body))


@pytest.mark.parametrize(
    "description",
    [
        *(None, [], {}, {"paths": None}, {"paths": []}, {"paths": {}}, {"paths": {"/users": {"get": {}}}}),
        {"paths": {"/sessions": {"get": {}}}},
    ],
    ids=str,
)
async def test_a_server_with_other_routes_is_not_an_agentos(description: Json) -> None:
    with pytest.raises(BadResponse, match="not an AgentOS"):
        await version_of(NOT_FOUND, says(description))


@pytest.mark.parametrize(
    "deleting", [None, 5, {}, {"parameters": None}, {"parameters": [None, 5, {}, {"name": "type"}]}], ids=str
)
async def test_an_agno_that_confuses_users_is_refused(deleting: Json) -> None:
    with pytest.raises(Unsupported, match="Upgrade"):
        await version_of(NOT_FOUND, says({"paths": {"/sessions/{session_id}": {"delete": deleting}}}))


async def test_a_version_that_is_too_old_is_refused() -> None:
    with pytest.raises(Unsupported, match="Upgrade"):
        await version_of(says({"agno_version": "2.5.2"}))


async def test_a_server_that_hides_its_description_is_treated_as_the_oldest() -> None:
    version = await version_of(NOT_FOUND, NOT_FOUND, says({"status": "ok"}))
    assert version == OLDEST < FORKS
    assert str(version) == "a version before 2.5.13"


@pytest.mark.parametrize("health", [NOT_FOUND, whole(200, b"<html>"), whole(200, b"[]")])
async def test_a_server_that_knows_none_of_the_routes_is_not_an_agentos(health: Answer) -> None:
    with pytest.raises(BadResponse, match="not an AgentOS"):
        await version_of(NOT_FOUND, NOT_FOUND, health)


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (500, Unavailable), (503, Unavailable)])
async def test_a_failed_request_says_nothing_about_the_version(status: int, error: type[SessionsError]) -> None:
    failing = whole(status, b"{}")
    for answers in ([failing] * 3, [NOT_FOUND, *[failing] * 3]):
        with pytest.raises(error):
            await version_of(*answers)


def test_the_error_names_the_version_that_is_needed() -> None:
    FORKS.require(FORKS, "this")
    with pytest.raises(Unsupported, match=r"this needs agno 2\.7\.0 or newer; this AgentOS runs 2\.5\.13\. Upgrade"):
        Version(2, 5, 13).require(FORKS, "this")


async def test_the_version_is_requested_once_and_again_after_a_failure(tmp_path: Path) -> None:
    routes: Mapping[str, bytes] = {"/info": b'{"agno_version": "3.1.10"}', "/sessions": b'{"data": []}'}

    async with toxic_server(whole(500)) as server:

        async def routed(connection: Connection) -> None:
            asked = server.received[-1].target.partition("?")[0]
            await whole(200, routes[asked])(connection)

        server.default = routed
        async with open_backend(f"agentos+{server.url}", data_folder=str(tmp_path)) as backend:
            with pytest.raises(Unavailable):
                await backend.check_reachable()
            await backend.check_reachable()
            await backend.check_reachable()
        assert asked_for(server, "/info") == 2


def asked_for(server: ToxicServer, path: str) -> int:
    return len([request for request in server.received if request.target == path])


async def test_a_fork_is_refused_by_a_version_without_forks(tmp_path: Path) -> None:
    async with faked("2.5.6", tmp_path, session("s")) as (_, backend):
        with pytest.raises(Unsupported, match=r"2\.7\.0"):
            await backend.fork_session("s")
