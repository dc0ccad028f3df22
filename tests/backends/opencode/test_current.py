"""Which session "current" is for a server of opencode: the only one that runs in the folder of the client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mcp.client import Client

from mcp_sessions import create_server, open_backend

from ...contract.harness import Seed
from ...support.clients import ALL, Peer
from ...support.fakes.http import Response
from ...support.fakes.opencode import FakeOpencode, Fault, seeded


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the folder of the opencode that started this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCODE_PID", "1")
    return str(tmp_path)


@asynccontextmanager
async def serving(fake: FakeOpencode, *, session: str = "", name: str = "") -> AsyncGenerator[Peer]:
    with TemporaryDirectory() as folder:
        backend = open_backend(f"opencode+{fake.origin}", data_folder=folder)
        served = {"": open_backend(), name: backend} if name else backend
        async with Client(create_server(served, toolsets=ALL, confirm="off", session=session)) as client:
            yield Peer(client, backend)


def asked(fake: FakeOpencode) -> int:
    """Return how often the server was asked which sessions run."""
    return [request.path for request in fake.requests].count("/session/status")


@pytest.mark.parametrize("name", ["", "work"])
async def test_it_is_the_only_session_that_runs_in_the_clients_folder_when_it_is_asked_for(
    project: str, name: str
) -> None:
    async with FakeOpencode() as fake, serving(fake, name=name) as peer:
        first, second, elsewhere = fake.add(*[seeded(Seed(project=folder)) for folder in (project, project, "/else")])
        for running in (first, second):
            fake.store.running[:] = [running, elsewhere]
            found = await peer.call("get_session", session_id="current")
            full_id = f"{name}/{running}" if name else running
            assert (found["id"], found["resolved_from"], found["is_current"]) == (full_id, "client", True)
            assert "current session" in await peer.error("delete_session", session_id="current")
        assert asked(fake) == 4
        listed = await peer.call("list_sessions")
        await peer.call("get_session", session_id=full_id)
        await peer.call("rename_session", session_id=full_id, name="Trip")
        assert [row.get("is_current") for row in listed["sessions"]] == [None] * 3
        assert asked(fake) == 4
        assert "is the current session" in await peer.error("delete_session", session_id=full_id)


async def test_it_is_an_error_if_several_sessions_run_there_or_none_does(project: str) -> None:
    async with FakeOpencode() as fake, serving(fake, name="work") as peer:
        ids = fake.add(*[seeded(Seed(project=project)) for _ in range(2)])
        assert "there is no current session" in await peer.error("get_session", session_id="current")
        fake.store.running[:] = ids
        error = await peer.error("rename_session", session_id="current", name="Trip")
        assert f'may be any of 2: "work/{ids[0]}" or "work/{ids[1]}". Give its id' in error
        assert fake.changes == []


async def test_the_server_is_asked_only_if_opencode_started_this_process_and_nothing_else_names_a_session(
    project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeOpencode() as fake:
        running, given = fake.add(*[seeded(Seed(project=project)) for _ in range(2)])
        fake.store.running[:] = [running]
        async with serving(fake, session=given) as peer:
            assert (await peer.call("get_session", session_id="current"))["id"] == given
        monkeypatch.delenv("OPENCODE_PID")
        async with serving(fake) as peer:
            assert "there is no current session" in await peer.error("get_session", session_id="current")
        assert asked(fake) == 0


async def test_an_answer_that_names_no_sessions_is_an_error(project: str) -> None:
    assert project
    async with FakeOpencode() as fake, serving(fake) as peer:
        for body in (b"[]", b"<html>", b'"ses_1"'):
            fake.faults.append(Fault(Response(200, body, {"content-type": "application/json"}), path="status"))
            assert (await peer.error("get_session", session_id="current")).startswith("bad_response")
        fake.faults.append(Fault(Response(200, b'{"../x": {}, "ses_1": {"type": "idle"}}'), path="status"))
        assert "there is no current session" in await peer.error("get_session", session_id="current")
