"""The backend's URLs, session ids, and the limits of its operations."""

from dataclasses import replace

import pytest

from mcp_sessions.backends.guayaba import api
from mcp_sessions.backends.guayaba.wire import read_archives
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import Invalid
from mcp_sessions.models import SessionFilter

from ...support.faked_guayaba import KEY, archived_id, faked, on, outcome, served
from ...support.fakes.guayaba import READINGS, FakeGuayaba, Fault, shaped
from ...support.fakes.guayaba.seeds import row, user

AGENT = "e3e70682-c209-4cac-a29f-6fbed82c07cd"
TOKEN = "g_agent_" + "0" * 48


@pytest.mark.parametrize("url", ["guayaba:", f"guayaba:?agent={AGENT}", "guayaba+https://guayaba.example/api/v1"])
def test_the_public_address_and_others_can_be_configured(url: str) -> None:
    assert open_backend(url, token=TOKEN).title == "Guayaba"


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("guayaba:api.guayaba.run", TOKEN, "guayaba: or guayaba"),
        ("guayaba://api.guayaba.run", TOKEN, "guayaba: or guayaba"),
        ("guayaba:?agent=main", TOKEN, "UUID"),
        (f"guayaba:?agent={AGENT}&limit=5", TOKEN, '"limit"'),
        ("guayaba:", "", "MCP_SESSIONS_TOKEN"),
        (f"guayaba+https://guayaba.example/api/v1?token={TOKEN}", "", "MCP_SESSIONS_TOKEN"),
        (f"guayaba+https://me:{TOKEN}@guayaba.example/api/v1", "", "MCP_SESSIONS_TOKEN"),
    ],
)
def test_the_error_about_a_wrong_address_has_no_secrets(url: str, token: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        open_backend(url, token=token)
    assert said in str(refused.value)
    assert TOKEN not in str(refused.value)


async def test_fewer_messages_are_requested_of_a_history_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_MAX_HISTORY_BYTES", 40_000)
    async with FakeGuayaba() as fake:
        said = [user("x" * 200, id=f"m{place}") for place in range(500)]
        fake.add_session(fake.agents[0], row(KEY, fake.new_id()), said)
        async with on(fake, fake.agent_key(fake.agents[0])) as backend:
            page = await backend.get_session_history(KEY, limit=5)
            assert [message.id for message in page.messages] == ["m495", "m496", "m497", "m498", "m499"]
            assert "newest 40 messages" in page.note
            assert (await backend.get_session_for_deletion(KEY)).message_count is None
            monkeypatch.setattr(api, "_MAX_HISTORY_BYTES", 100)
            assert await outcome(lambda backend: backend.get_session_history(KEY), backend) == "bad_response"
            assert (await backend.search_sessions("xxx")).complete is False


async def test_the_pages_of_agents_that_are_requested_are_limited() -> None:
    async with FakeGuayaba(replace(READINGS["default"], most_agents=1), agents=120) as fake, on(fake) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert (page.total, "agent_id" in page.note) == (None, True)
        assert len(fake.requests) == 200


@pytest.mark.parametrize("body", [[], {"agents": []}, {"data": {}}, "agents", None])
async def test_a_malformed_list_of_agents_is_a_bad_response(body: object) -> None:
    async with FakeGuayaba() as fake:
        for token in (fake.master_key, fake.agent_key(fake.agents[0])):
            async with on(fake, token) as backend:
                fake.fail_next(replace(shaped(body), path="/agents"))
                assert await outcome(lambda backend: backend.list_sessions(SessionFilter()), backend) == "bad_response"
                assert await outcome(lambda backend: backend.list_sessions(SessionFilter()), backend) == ""


async def test_a_restored_session_that_cannot_be_named_is_returned_with_a_note() -> None:
    async with faked(replace(READINGS["default"], restore_keeps_label=False)) as (fake, backend):
        id = await archived_id(backend)
        fake.fail_next(Fault("answer", path="/rename", status=500))
        change = await backend.restore_session(id)
        assert "could not be renamed (unavailable)" in change.note
        assert (change.changed["name"], change.previous["name"]) == ("", "Old")


async def test_a_rename_to_the_current_name_sends_nothing() -> None:
    async with faked() as (fake, backend):
        assert (await backend.rename_session(KEY, "Trip")).changed == {"name": "Trip"}
        assert (await backend.archive_session(await archived_id(backend))).note.startswith(
            "Nothing was changed: the session is archived"
        )
        assert (await backend.restore_session(KEY)).note == "The session was active already."
        assert fake.sent_changes == []


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("x.jsonl.reset.2024-13-45T99-99-99.000Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("20240501", "2024-05-01T00:00:00+00:00"),
        ("yesterday", None),
    ],
)
async def test_a_malformed_time_is_none(written: str, time: str | None) -> None:
    (session,) = read_archives([{"filename": "x", "archivedAt": written}], AGENT)
    assert (session.changed_at.isoformat() if session.changed_at else None) == time
    async with FakeGuayaba() as fake:
        fake.fail_next(replace(shaped([{"filename": "x", "archivedAt": written}]), path="/archives"))
        async with served(fake, fake.agent_key(fake.agents[0])) as tools:
            assert len(await tools.ids(archived=True)) == 1
