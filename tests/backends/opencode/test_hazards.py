"""What opencode loses, ignores or confuses, and what this backend does about it."""

import json
from pathlib import Path

import anyio
import pytest
from mcp.client import Client

from mcp_sessions import create_server
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.opencode import api
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import BadResponse, Invalid, NotFound, Unsupported
from mcp_sessions.models import HistoryQuery, NewMessage, SessionFilter

from ...contract.harness import Seed
from ...contract.samples import WEATHER, exchanges, moment
from ...contract.several import Opened
from ...contract.walks import all_sessions
from ...support.clients import text_of
from ...support.faked_opencode import backend_on, faked, said
from ...support.fakes.http import Response
from ...support.fakes.opencode import FakeOpencode, Fault, seeded

HTML = Response(200, b"<!doctype html>", {"content-type": "text/html"})


async def names(backend: SessionBackend, *, archived: bool = False) -> list[str]:
    return sorted(session.name for session in await all_sessions(backend, SessionFilter(archived=archived), 50))


async def test_a_session_is_restored_by_storing_0_and_read_as_active() -> None:
    async with faked(Seed(name="Trip", archived=True)) as (fake, backend, (session_id,)):
        change = await backend.restore_session(session_id)
        assert [request.json for request in fake.changes] == [{"time": {"archived": 0}}]
        assert fake.store.sessions[session_id]["time"]["archived"] == 0
        assert (await names(backend), await names(backend, archived=True)) == (["Trip"], [])
        assert "storing 0" in change.note


async def test_a_negative_time_of_archiving_is_none() -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        fake.store.sessions[session_id]["time"]["archived"] = -1
        assert await names(backend) == ["Trip"]
        assert (await backend.get_session(session_id)).archived_at is None


async def test_an_old_server_that_ignores_the_restoration_is_not_believed() -> None:
    async with faked(Seed(archived=True)) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(Response(200, json.dumps(fake.store.sessions[session_id]).encode()), "PATCH"))
        with pytest.raises(BadResponse, match="does not show it"):
            await backend.restore_session(session_id)


@pytest.mark.slow
async def test_concurrent_merges_of_metadata_by_several_servers_lose_nothing(tmp_path: Path) -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):

        async def merge(client: int) -> None:
            async with backend_on(fake, folder=str(tmp_path)) as own:  # each with connections and locks of its own
                for number in range(25):
                    await own.update_session(session_id, metadata={f"{client}-{number}": number})

        async with anyio.create_task_group() as tasks:
            for client in range(4):
                tasks.start_soon(merge, client)
        assert len((await backend.get_session(session_id)).metadata) == 100


async def test_only_routes_of_the_first_version_are_used() -> None:
    async with faked(Seed(name="Trip", runs=WEATHER)) as (fake, backend, (session_id,)):
        await backend.get_session_history(session_id)
        await backend.search_sessions("rome")
        await backend.fork_session(session_id, name="Copy")
        await backend.export_session(session_id)
        roots = {request.path.split("/")[1] for request in fake.requests}
        assert roots == {"session", "experimental"}


async def test_each_session_is_listed_once_though_more_than_a_page_share_a_time() -> None:
    seeds = [Seed(name=f"{number:03}", moment=moment(number // 350)) for number in range(400)]
    async with faked(*seeds) as (_, backend, ids):
        listed = await all_sessions(backend, SessionFilter(), 90)
        assert sorted(session.id for session in listed) == sorted(ids)


async def test_a_list_that_cannot_be_paged_ends() -> None:
    async with faked(*(Seed(moment=moment(0)) for _ in range(3))) as (fake, backend, _):
        rows = json.dumps([*fake.store.sessions.values()]).encode()
        endless = Response(200, rows, {"x-next-cursor": "1"})
        fake.faults += [Fault(endless, path="/experimental/session") for _ in range(50)]
        with pytest.raises(BadResponse, match="can't be paged"):
            await backend.list_sessions(SessionFilter())


async def test_sessions_that_another_one_started_are_not_listed_but_can_be_read() -> None:
    async with faked(Seed(name="Trip"), Seed(name="Child")) as (fake, backend, (parent, child)):
        fake.store.sessions[child]["parentID"] = parent
        assert await names(backend) == ["Trip"]
        assert (await backend.get_session(child)).parent_id == parent


@pytest.mark.parametrize("session_id", ["abc", "ses", "ses_", "ses_a/../ses_b", "ses_a?x=1", "SES_abc", "ses_é", ""])
async def test_an_id_that_is_none_of_opencodes_is_never_sent(session_id: str) -> None:
    async with faked() as (fake, backend, _):
        for call in (backend.get_session, backend.delete_session, backend.archive_session, backend.fork_session):
            with pytest.raises(NotFound):
                await call(session_id)
        assert fake.requests == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_the_page_of_the_web_app_is_a_bad_response(method: str) -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(HTML, method))
        with pytest.raises(BadResponse):
            await (
                backend.delete_session(session_id) if method == "DELETE" else backend.rename_session(session_id, "x")
            )
        assert await names(backend) == ["Trip"]


async def test_a_session_that_does_not_exist_is_not_deleted_where_that_would_be_confirmed() -> None:
    async with faked(version="1.2.27") as (fake, backend, _):
        with pytest.raises(NotFound):
            await backend.delete_session("ses_absent")
        assert fake.changes == []


async def test_the_sessions_that_are_deleted_too_are_counted() -> None:
    async with faked(Seed(runs=exchanges(1)), Seed(), Seed(), Seed()) as (fake, backend, (root, child, grandchild, _)):
        fake.store.sessions[child]["parentID"] = root
        fake.store.sessions[grandchild]["parentID"] = child
        async with Client(create_server(Opened(backend), confirm="code")) as client:
            asked = await client.call_tool("delete_session", {"session_id": root})
        assert "(2 messages, 2 child sessions, version" in text_of(asked)
        await backend.delete_session(root)
        assert len(fake.store.sessions) == 1


@pytest.mark.parametrize("name", ["a\ud800b", "a\0b", "a\nb", "a\x1b[31mb"])
async def test_a_name_that_opencode_would_garble_is_refused(name: str) -> None:
    async with faked(Seed(name="Trip")) as (fake, backend, (session_id,)):
        for call in (backend.rename_session(session_id, name), backend.create_session(name=name)):
            with pytest.raises(Invalid, match="name"):
                await call
        assert fake.requests == []


async def test_a_change_that_opencode_does_not_count_as_an_update_is_another_version() -> None:
    async with faked(Seed(name="Trip")) as (_, backend, (session_id,)):
        first = await backend.get_session(session_id)
        await backend.archive_session(session_id)
        second = await backend.get_session(session_id)
        assert second.updated_at == first.updated_at
        assert second.version != first.version


async def test_a_fork_has_the_message_that_it_ends_with_and_an_unknown_one_forks_nothing() -> None:
    async with faked(Seed(runs=WEATHER)) as (fake, backend, (session_id,)):
        messages = (await backend.get_session_history(session_id, HistoryQuery(include_tools=True))).messages
        (tool,) = (message for message in messages if message.role == "tool")
        for last, count in ((messages[0].id, 1), (tool.id, 3), (messages[-1].id, 6)):
            fork = await backend.fork_session(session_id, up_to_message_id=last)
            copied = await backend.get_session_history(fork.id, HistoryQuery(include_tools=True))
            assert len(copied.messages) == count
        with pytest.raises(NotFound, match="message"):
            await backend.fork_session(session_id, up_to_message_id="msg_absent")
        assert len(fake.store.sessions) == 4


async def test_metadata_that_a_version_ignores_is_not_reported_as_kept() -> None:
    async with faked(version="1.2.27") as (_, backend, _):
        created = await backend.create_session(name="Trip", metadata={"a": 1})
        assert created.metadata == {}
        assert "did not keep the metadata" in created.note
        with pytest.raises(Unsupported, match="keeps no metadata"):
            await backend.update_session(created.id, metadata={"a": 1})


async def test_whole_numbers_that_opencode_would_round_are_refused() -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        with pytest.raises(Invalid, match="whole number"):
            await backend.update_session(session_id, metadata={"a": [{"b": 2**53}]})
        assert fake.requests == []
        fake.store.sessions[session_id]["metadata"] = {"rounded": 2**60}
        change = await backend.update_session(session_id, metadata={"a": 1})
        assert change.changed == {"metadata": {"rounded": 2**60, "a": 1}}


async def test_a_session_is_created_where_the_server_runs_unless_a_folder_is_named() -> None:
    async with FakeOpencode() as fake:
        for query in ("", "?directory=/work/other"):
            async with backend_on(fake, query=query) as backend:
                await backend.create_session(name="Trip")
        assert [request.query.get("directory") for request in fake.changes] == [None, ["/work/other"]]


async def test_messages_are_never_asked_for_without_a_limit() -> None:
    async with faked(Seed(name="Trip", runs=exchanges(150))) as (fake, backend, (session_id,)):
        assert len((await backend.export_session(session_id))["messages"]) == 300
        await backend.get_session_runs(session_id)
        await backend.search_sessions("question")
        asked = [request for request in fake.requests if request.path.endswith("/message")]
        assert len(asked) > 4
        assert all(request.query["limit"] != ["0"] for request in asked)


async def test_of_messages_that_are_too_large_only_the_newest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_MAX_PAGE_BYTES", 4_000)
    monkeypatch.setattr(api, "_MAX_TRANSCRIPT_BYTES", 8_000)
    async with faked(Seed(runs=said(*(f"{number} {'x' * 2_500}" for number in range(5))))) as (fake, backend, ids):
        page = await backend.get_session_history(ids[0])
        assert [message.text[0] for message in page.messages] == ["2", "3", "4"]
        assert page.note == "Only the newest 3 messages can be read: more would be too large."
        fake.store.messages[ids[0]] = [*seeded(Seed(runs=said("x" * 5_000))).messages]
        with pytest.raises(BadResponse, match="too large to read"):
            await backend.get_session_history(ids[0])
        assert (await backend.get_session_for_deletion(ids[0])).message_count is None


async def test_appending_starts_no_run() -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        change = await backend.append_messages(session_id, [NewMessage(role="user", text="Hello")])
        assert [request.json["noReply"] for request in fake.changes] == [True]
        assert "no automatic title" in change.note


async def test_an_answer_that_is_no_session_is_a_bad_response() -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(Response(200, b'{"id": "other"}')))
        with pytest.raises(BadResponse, match="not a session"):
            await backend.get_session(session_id)


async def test_a_server_that_cannot_list_all_projects_is_refused() -> None:
    async with faked() as (fake, backend, _):
        fake.faults.append(Fault(Response(404), path="/experimental/session"))
        with pytest.raises(Unsupported, match="Upgrade"):
            await backend.list_sessions(SessionFilter())


async def test_a_session_that_was_created_without_its_name_is_reported() -> None:
    async with faked(Seed(name="Other")) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(Response(200, json.dumps(fake.store.sessions[session_id]).encode()), "POST"))
        with pytest.raises(BadResponse, match="without its name"):
            await backend.create_session(name="Trip")


@pytest.mark.parametrize("username", ["a:b", "é", "a%0Ab"])
def test_a_user_name_that_cannot_be_sent_is_refused(username: str) -> None:
    with pytest.raises(Invalid, match="username"):
        open_backend(f"opencode+http://127.0.0.1:4096?username={username}")
