"""A backend that answers with a redirect: the error says so, and nothing is sent to the other address."""

from collections.abc import AsyncGenerator, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_sessions.backends.http.client import AnswerLost, HttpClient
from mcp_sessions.backends.http.credentials import Credential
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import BadResponse, SessionsError
from mcp_sessions.models import SessionFilter

from ...support.covering_pairs import covering_pairs
from ...support.faked_agentos import faked as faked_agentos
from ...support.faked_guayaba import Operation, everything
from ...support.faked_guayaba import faked as faked_guayaba
from ...support.fakes.agentos import Fault
from ...support.fakes.guayaba import redirected
from ...support.servers.toxic_server import ToxicServer, toxic_server, whole
from ..agentos import test_lost_answers as agentos
from ..guayaba import test_faults as guayaba

AGENT = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
AGENTOS_READS: dict[str, Operation] = {
    "list_sessions": lambda backend: backend.list_sessions(SessionFilter()),
    "get_session": lambda backend: backend.get_session("s"),
    "get_session_history": lambda backend: backend.get_session_history("s"),
    "search_sessions": lambda backend: backend.search_sessions("where"),
}
AGENTOS: dict[str, Operation] = AGENTOS_READS | {name: made for name, (_, made) in agentos.OPERATIONS.items()}
GUAYABA: dict[str, Operation] = {name: made for name, (_, made) in (guayaba.READS | guayaba.CHANGES).items()}

STATUSES = (301, 302, 303, 307, 308)
each_redirect = pytest.mark.parametrize("status", STATUSES)


def covering(operations: Collection[str]) -> pytest.MarkDecorator:
    """Run a test with every operation once, and with a read and a change for every status."""
    typical = [name for name in ("get_session", "rename_session") if name in operations]
    pairs = covering_pairs(operations, STATUSES, typical_operations=typical, typical_faults=[302])
    return pytest.mark.parametrize(("name", "status"), pairs)


@pytest.fixture
async def elsewhere() -> AsyncGenerator[ToxicServer]:
    """Yield a server that the redirects point to, and that must receive no request."""
    async with toxic_server() as server:
        yield server
        assert server.connections == 0


async def told(operation: Operation, url: str) -> SessionsError:
    async with open_backend(url, token="hunter2") as backend:
        with pytest.raises(SessionsError) as caught:
            await operation(backend)
    return caught.value


def assert_names_the_redirect(error: SessionsError, system: str, status: int) -> None:
    assert error.code == "bad_response"
    assert error.message.removeprefix("the change was not made: ") == (
        f"{system} answered with a redirect (HTTP {status}), which is not followed. "
        f"Set the backend's URL to the address of {system} itself."
    )


@each_redirect
async def test_a_redirect_is_never_followed(status: int, elsewhere: ToxicServer) -> None:
    async with toxic_server() as server:
        server.default = whole(status, b"", f"Location: {elsewhere.url}/sessions")
        async with HttpClient(server.url, system="AgentOS", credential=Credential("hunter2")) as client:
            with pytest.raises(BadResponse) as caught:
                await client.read("/sessions")
            assert_names_the_redirect(caught.value, "AgentOS", status)
            with pytest.raises(AnswerLost) as lost:
                await client.change("POST", "/sessions", json={"a": 1})
            assert lost.value.ended
            assert_names_the_redirect(lost.value.not_made_error(), "AgentOS", status)
        assert len(server.received) == 2


@covering(AGENTOS)
async def test_every_call_to_an_agentos_that_redirects_says_so(name: str, status: int, elsewhere: ToxicServer) -> None:
    async with toxic_server() as server:
        server.default = whole(status, b"", f"Location: {elsewhere.url}/")
        assert_names_the_redirect(await told(AGENTOS[name], f"agentos+{server.url}"), "AgentOS", status)


async def test_a_session_is_not_created_if_every_request_is_redirected(
    elsewhere: ToxicServer,
) -> None:
    async with toxic_server() as server:
        server.default = whole(302, b"", f"Location: {elsewhere.url}/")
        error = await told(lambda backend: backend.create_session(name="new"), f"agentos+{server.url}")
        assert [request.method for request in server.received][:1] == ["POST"]
        assert_names_the_redirect(error, "AgentOS", 302)


@covering(agentos.OPERATIONS)
async def test_a_change_that_agentos_redirects_says_so(
    name: str, status: int, elsewhere: ToxicServer, tmp_path: Path
) -> None:
    method, operation = agentos.OPERATIONS[name]
    async with faked_agentos("3.1.10", tmp_path, *agentos.SEEDS) as (fake, backend):
        before = fake.everything()
        fake.fail_next(Fault("answer", method=method, status=status, headers={"Location": f"{elsewhere.url}/"}))
        with pytest.raises(SessionsError) as caught:
            await operation(backend)
        assert_names_the_redirect(caught.value, "AgentOS", status)
        assert fake.everything() == before


@covering(GUAYABA)
async def test_every_call_to_a_guayaba_that_redirects_says_so(name: str, status: int, elsewhere: ToxicServer) -> None:
    async with toxic_server() as server:
        server.default = whole(status, b"", f"Location: {elsewhere.url}/")
        url = f"guayaba+{server.url}/api/v1?agent={AGENT}"
        assert_names_the_redirect(await told(GUAYABA[name], url), "Guayaba", status)


@covering(guayaba.CHANGES)
async def test_a_change_that_guayaba_redirects_says_so(name: str, status: int, elsewhere: ToxicServer) -> None:
    path, operation = guayaba.CHANGES[name]
    async with faked_guayaba() as (fake, backend):
        before = everything(fake)
        fake.fail_next(replace(redirected(f"{elsewhere.url}/", status=status), path=path))
        with pytest.raises(SessionsError) as caught:
            await operation(backend)
        assert_names_the_redirect(caught.value, "Guayaba", status)
        assert everything(fake) == before
