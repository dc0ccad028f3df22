"""What only a real opencode can show: the fake and this backend agree with it."""

import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio import to_thread

from mcp_sessions.backends.opencode import server_on_demand
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.servers import stub_model
from ...support.servers.opencode_process import Opencode, running
from ...support.servers.stub_model import running_model

pytestmark = pytest.mark.slow  # it starts servers


@pytest.fixture(params=["1.18.33", "1.15.13"])
def server(request: pytest.FixtureRequest) -> Opencode:
    found = running(request.param)
    found.clear()
    return found


def app_of(server: Opencode) -> httpx2.AsyncClient:
    """Return a client that stands for opencode's own app."""
    password = httpx2.BasicAuth("opencode", server.password)
    return httpx2.AsyncClient(base_url=server.origin, auth=password, trust_env=False, timeout=60)


def local_url(server: Opencode, folder: Path) -> str:
    return f"opencode://{server.database}?command={server.program}&directory={folder}&timeout=120"


def processes_on(server: Opencode) -> set[str]:
    """Return the processes that may have this server's database open, among them the server."""
    data_home = f"XDG_DATA_HOME={server.database.parent.parent}".encode()
    found: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if data_home in (folder / "environ").read_bytes().split(b"\0"):
                found.add(folder.name)
    return found


async def test_a_session_that_was_archived_in_opencodes_app_is_listed_there_again(
    server: Opencode, tmp_path: Path
) -> None:
    async with (
        open_backend(server.backend_url, token=server.password, data_folder=str(tmp_path)) as backend,
        app_of(server) as app,
    ):
        created = await backend.create_session(name="Trip")
        archived = await app.patch(f"/session/{created.id}", json={"time": {"archived": 1_714_564_807_000}})
        assert archived.json()["time"]["archived"]
        assert (await backend.list_sessions(SessionFilter())).sessions == ()
        await backend.restore_session(created.id)
        assert [session.id for session in (await backend.list_sessions(SessionFilter())).sessions] == [created.id]
        (listed,) = (await app.get("/session")).json()
        assert not listed["time"]["archived"]  # what the app asks before it shows a session


async def test_a_name_given_in_the_first_turn_is_written_again_after_the_automatic_title(
    server: Opencode, tmp_path: Path
) -> None:
    model = running_model()
    model.reset()
    async with (
        open_backend(server.backend_url, token=server.password, data_folder=str(tmp_path)) as backend,
        app_of(server) as app,
        app.stream("GET", "/event") as events,
    ):
        created = await backend.create_session()
        turn: JsonObject = {"parts": [{"type": "text", "text": "Hello"}]}
        (await app.post(f"/session/{created.id}/prompt_async", json=turn)).raise_for_status()
        with anyio.fail_after(120):
            assert await to_thread.run_sync(model.title_requested.wait, 60)
            assert "automatic title" in (await backend.rename_session(created.id, "Trip to Rome")).note
            model.title_allowed.set()
            names = names_of(created.id, events)
            while await anext(names) != stub_model.TITLE:
                pass
            while await anext(names) != "Trip to Rome":
                pass


async def test_the_session_whose_turn_runs_in_the_clients_folder_is_found(
    server: Opencode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCODE_PID", "1")
    model = running_model()
    model.title_allowed.set()
    model.answer_allowed.clear()
    async with (
        open_backend(server.backend_url, token=server.password, data_folder=str(tmp_path)) as backend,
        app_of(server) as app,
    ):
        try:
            here, _ = [(await app.post("/session", params={"directory": str(tmp_path)})).json() for _ in range(2)]
            elsewhere = (await app.post("/session")).json()
            turn: JsonObject = {"parts": [{"type": "text", "text": "Hello"}]}
            for session in (elsewhere, here):
                model.answer_requested.clear()
                (await app.post(f"/session/{session['id']}/prompt_async", json=turn)).raise_for_status()
                assert await to_thread.run_sync(model.answer_requested.wait, 60)
            assert await backend.find_client_sessions() == [here["id"]]
        finally:
            model.answer_allowed.set()
        with anyio.fail_after(60):
            while await backend.find_client_sessions():  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)


@pytest.mark.parametrize("is_local", [False, True], ids=["server", "database"])
async def test_a_deleted_session_is_restored_as_it_was_with_the_sessions_that_it_started(
    server: Opencode, tmp_path: Path, *, is_local: bool
) -> None:
    """The turns cost tokens, which opencode counts again when it applies their messages."""
    running_model().title_allowed.set()
    url = local_url(server, tmp_path) if is_local else server.backend_url
    async with (
        open_backend(url, token="" if is_local else server.password, data_folder=str(tmp_path)) as backend,
        app_of(server) as app,
    ):
        family = [(await app.post("/session", json={"metadata": {"a": [1, None]}})).json()["id"]]
        for parent in (0, 1):
            child = await app.post("/session", json={"parentID": family[parent], "title": "Child"})
            family.append(child.json()["id"])
        turn: JsonObject = {"parts": [{"type": "text", "text": "Hello"}]}
        for session_id in family[:2]:
            (await app.post(f"/session/{session_id}/message", json=turn)).raise_for_status()
        await app.patch(f"/session/{family[0]}", json={"title": "Trip"})

        async def read() -> list[JsonObject]:
            routes = [f"/session/{id}{part}" for id in family for part in ("", "/message")]
            return [(await app.get(route)).json() for route in routes]

        before = await read()
        assert (await backend.get_session_for_deletion(family[0])).child_count == 2
        assert "can restore them" in (await backend.delete_session(family[0])).note
        assert [(await app.get(f"/session/{id}")).status_code for id in family] == [404] * 3
        assert "active again" in (await backend.restore_session(family[0])).note
        assert await read() == before
        (await app.post(f"/session/{family[0]}/message", json=turn)).raise_for_status()
        assert len((await backend.get_session_history(family[0])).messages) == 4


async def names_of(session_id: str, events: httpx2.Response) -> AsyncGenerator[str]:
    """Yield the name of a session at each of its changes."""
    async for line in events.aiter_lines():
        event = json.loads(line.removeprefix("data: ") or "{}")
        if event.get("type") == "session.updated" and event["properties"]["info"]["id"] == session_id:
            yield event["properties"]["info"]["title"]


async def test_reading_the_database_of_a_running_server_changes_nothing_and_sees_what_it_has_just_written(
    server: Opencode, tmp_path: Path
) -> None:
    async with app_of(server) as app, open_backend(f"opencode://{server.database}") as local:
        for number in (1, 2):
            created = (await app.post("/session", json={"title": f"Trip {number}"})).json()
            message: JsonObject = {"noReply": True, "parts": [{"type": "text", "text": f"To Rome {number}"}]}
            (await app.post(f"/session/{created['id']}/message", json=message)).raise_for_status()
            before = files_beside(server.database)
            sessions = (await local.list_sessions(SessionFilter())).sessions
            assert {session.name for session in sessions} == {f"Trip {count}" for count in range(1, number + 1)}
            assert (await local.get_session_history(created["id"])).messages[-1].text == f"To Rome {number}"
            assert (await local.search_sessions(f"Rome {number}")).hits[0].session_id == created["id"]
            assert files_beside(server.database) == before


def files_beside(database: Path) -> dict[str, tuple[bytes, int]]:
    """Return the bytes and the time of change of a database and of the files that SQLite keeps beside it."""
    found = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in database.parent.glob(f"{database.name}*")
    }
    assert {*found} == {database.name, f"{database.name}-wal", f"{database.name}-shm"}
    return found


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


async def test_changes_of_a_database_are_made_by_a_server_that_is_ended_after_them(
    server: Opencode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is that of another server that runs, as when opencode is open. Neither installs packages."""
    registry = running_model()
    monkeypatch.setenv("npm_config_registry", registry.url)
    running_before = processes_on(server)
    async with open_backend(local_url(server, tmp_path), data_folder=str(tmp_path)) as local:
        created = await local.create_session(name="Trip")
        assert created.project == str(tmp_path)
        assert processes_on(server) != running_before
        await local.rename_session(created.id, "Trip to Rome")
        await local.archive_session(created.id)
        assert (await local.get_session(created.id)).archived_at
        await local.restore_session(created.id)
        await local.append_messages(created.id, [NewMessage(role="user", text="One")])
        fork = await local.fork_session(created.id, name="Copy")
        assert (fork.name, fork.project) == ("Copy", created.project)
        assert (await local.get_session_for_deletion(created.id)).message_count == 1
        await local.delete_session(created.id)
        (listed,) = (await local.list_sessions(SessionFilter())).sessions
        assert (listed.id, listed.name) == (fork.id, "Copy")
        monkeypatch.setattr(server_on_demand, "_IDLE_SECONDS", 0)  # from here on: each start takes seconds
        with anyio.fail_after(60):
            while processes_on(server) != running_before:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)
        await local.rename_session(fork.id, "Again")
    assert processes_on(server) == running_before
    assert registry.downloads == []
