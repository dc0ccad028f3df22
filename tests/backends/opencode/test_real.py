"""What only a real opencode can show: the fake and this backend agree with it."""

from pathlib import Path

import httpx2
import pytest

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.servers.opencode_process import Opencode, running

pytestmark = pytest.mark.slow  # it starts servers


@pytest.fixture(params=["1.18.33", "1.15.13"])
def server(request: pytest.FixtureRequest) -> Opencode:
    found = running(request.param)
    found.clear()
    return found


async def test_a_session_that_was_archived_in_opencodes_app_is_listed_there_again(
    server: Opencode, tmp_path: Path
) -> None:
    password = httpx2.BasicAuth("opencode", server.password)
    async with (
        open_backend(server.backend_url, token=server.password, data_folder=str(tmp_path)) as backend,
        httpx2.AsyncClient(base_url=server.origin, auth=password, trust_env=False) as app,
    ):
        created = await backend.create_session(name="Trip")
        archived = await app.patch(f"/session/{created.id}", json={"time": {"archived": 1_714_564_807_000}})
        assert archived.json()["time"]["archived"]
        assert (await backend.list_sessions(SessionFilter())).sessions == ()
        await backend.restore_session(created.id)
        assert [session.id for session in (await backend.list_sessions(SessionFilter())).sessions] == [created.id]
        (listed,) = (await app.get("/session")).json()
        assert not listed["time"]["archived"]  # what the app asks before it shows a session


async def test_the_database_of_a_running_server_reads_as_its_api_does(server: Opencode, tmp_path: Path) -> None:
    async with (
        open_backend(server.backend_url, token=server.password, data_folder=str(tmp_path)) as backend,
        open_backend(f"opencode://{server.database}") as local,
    ):
        created = await backend.create_session(name="Trip", metadata={"a": [1, None]})
        await backend.append_messages(created.id, [NewMessage(role="user", text=text) for text in ("One", "Two")])
        child = await backend.fork_session(created.id, name="Copy")
        for session_id in (created.id, child.id):
            assert await local.export_session(session_id) == await backend.export_session(session_id)
        assert await local.list_sessions(SessionFilter()) == await backend.list_sessions(SessionFilter())
