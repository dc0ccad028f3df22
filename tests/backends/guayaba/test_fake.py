"""The fake Guayaba behaves as documented, and supports every reading of the rest."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from mcp_sessions.json_documents import Json, JsonObject

from ...support.fakes.guayaba import MAIN, READINGS, FakeGuayaba, Reading
from ...support.fakes.guayaba.seeds import odd_messages, row, seed_usual, user

KEY = "agent:main:api:trip"
DEFAULT = READINGS["default"]


class Client:
    """A client with the master key for the first agent of a fake, which has one session."""

    def __init__(self, fake: FakeGuayaba, http: httpx2.AsyncClient) -> None:
        self.fake = fake
        self.http = http
        self.agent = fake.agents[0]
        self.token = fake.master_key
        self.session = fake.add_session(self.agent, row(KEY, fake.new_id(), label="Trip"), [user("Hello")])

    async def ask(self, path: str, body: Json = None, *, agent: str = "", accept: str = "application/json") -> Json:
        answer = await self.answer(path, body, agent=agent, accept=accept)
        return answer.json() if answer.is_success and answer.content else answer.status_code

    async def answer(
        self, path: str, body: Json = None, *, agent: str = "", accept: str = "application/json"
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.token}", "accept": accept, "content-type": "application/json"}
        url = f"{self.fake.url}/agents/{agent or self.agent.id}/{path}".rstrip("/")
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        return await self.http.request("GET" if body is None else "POST", url, headers=headers, content=content)

    async def listed(self) -> dict[str, JsonObject]:
        return {item["key"]: item for item in await self.ask("sessions")}


@asynccontextmanager
async def asking(reading: Reading | str = "default") -> AsyncGenerator[Client]:
    async with FakeGuayaba(reading) as fake, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        yield Client(fake, http)


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    async with asking() as client:
        yield client


def error(answer: httpx2.Response) -> tuple[int, str, str]:
    assert set(answer.json()) == {"error", "message"}
    return answer.status_code, answer.json()["error"], answer.json()["message"]


async def test_a_request_is_refused_in_the_documented_order(client: Client) -> None:
    fake, agent, other = client.fake, client.agent, client.fake.agents[1]
    agent.status = "stopped"
    fake.access.has_subscription = False
    client.token = fake.agent_key(agent, ["agent:read", "chat"])
    bad = {"key": 1}
    for ask, refusal in (
        (lambda: fake.revoke(client.token), (401, "Unauthorized", "Invalid or revoked API key")),
        (lambda: _new_key(client), (403, "Forbidden", "An active subscription is required to use the API")),
        (lambda: _renewed(client), (403, "Forbidden", "This API key lacks the required scope: agent:manage")),
        (lambda: _manager(client), (503, "Service Unavailable", "The agent container is not running")),
        (lambda: setattr(agent, "status", "running"), (422, "Validation Error", "The key field is required.")),
    ):
        ask()
        assert error(await client.answer("sessions/archive", bad)) == refusal
    for foreign in (other.id, fake.foreign_agent.id, fake.new_id(), "..%2f"):
        assert error(await client.answer("sessions", agent=foreign))[0] == 403
    client.token = fake.master_key
    for foreign in (fake.foreign_agent.id, fake.new_id(), "x"):
        assert error(await client.answer("sessions", agent=foreign)) == (404, "Not Found", "Agent not found")
    assert await client.ask("sessions", agent=other.id) == []


def _new_key(client: Client) -> None:
    client.token = client.fake.agent_key(client.agent, ["agent:read", "chat"])


def _renewed(client: Client) -> None:
    client.fake.access.has_subscription = True


def _manager(client: Client) -> None:
    client.token = client.fake.agent_key(client.agent)


async def test_an_agent_key_lists_all_agents_and_sees_its_own(client: Client) -> None:
    client.token = client.fake.agent_key(client.agent, ["agent:read"])
    url = f"{client.fake.url}/agents?per_page=2&page="
    headers = {"authorization": f"Bearer {client.token}", "accept": "application/json"}
    pages = [(await client.http.get(f"{url}{page}", headers=headers)).json() for page in (1, 2)]
    assert [item["id"] for page in pages for item in page["data"]] == [agent.id for agent in client.fake.agents]
    assert [page["last_page"] for page in pages] == [2, 2]
    assert (await client.ask(""))["id"] == client.agent.id
    assert await client.ask("", agent=client.fake.agents[1].id) == 403
    assert (await client.http.get(f"{url}0", headers=headers)).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sessions/history", {"key": KEY}),
        ("sessions/history", {"sessionKey": KEY, "limit": 0}),
        ("sessions/history", {"sessionKey": KEY, "limit": 1001}),
        ("sessions/history", {"sessionKey": KEY, "limit": True}),
        ("sessions/history", {"sessionKey": KEY, "limit": None}),
        ("sessions/rename", {"key": KEY, "label": "x" * 256}),
        ("sessions/rename", {"key": KEY, "label": 1}),
        ("sessions/rename", {"key": KEY, "name": "New"}),
        ("sessions/archive", {"key": ""}),
        ("sessions/archive", []),
        ("sessions/archive", b"{"),
        ("sessions/archive", b'{"key": "\\ud800"}'),
        ("sessions/archive?force=1", {"key": KEY}),
        ("archives/restore", {"filename": "a", "label": None}),
        ("archives/delete", {"filename": "../a"}),
    ],
)
async def test_the_fake_refuses_what_the_documents_allow_it_to_refuse(client: Client, path: str, body: Json) -> None:
    before = await client.listed()
    assert error(await client.answer(path, body))[:2] == (422, "Validation Error")
    assert (await client.listed(), client.fake.applied) == (before, [])


async def test_the_fake_has_only_the_documented_routes(client: Client) -> None:
    assert await client.ask("sessions/archive") == 405
    assert await client.ask("sessions", {}) == 405
    assert await client.ask(f"sessions/{KEY}") == 404
    assert await client.ask("sessions/archive", {"key": "unknown"}) == 404
    assert await client.ask("archives/restore", {"filename": "unknown"}) == 404


@pytest.mark.parametrize("reading", READINGS)
async def test_a_session_can_be_archived_and_restored(reading: str) -> None:
    async with asking(reading) as client:
        assert (await client.answer("sessions/rename", {"key": KEY, "label": "Trip to Rome 😀"})).is_success
        assert (await client.listed())[KEY]["label"] == "Trip to Rome 😀"
        assert (await client.answer("sessions/archive", {"key": KEY})).is_success
        assert await client.listed() == {}
        archives = await client.ask("archives")
        (archive,) = archives["data"] if reading == "other" else archives
        assert archive["sessionId"] == client.session.row["sessionId"]
        assert (await client.answer("archives/restore", {"filename": archive["filename"], "label": "Back"})).is_success
        ((key, restored),) = (await client.listed()).items()
        assert (restored["sessionId"], restored["label"]) == (archive["sessionId"], "Back")
        assert (key == KEY) == (reading == "default")
        history = await client.ask("sessions/history", {"sessionKey": key})
        assert [said["content"] for said in (history["messages"] if reading == "other" else history)] == ["Hello"]
        operations = ["sessions/rename", "sessions/archive", "archives/restore"]
        assert [change.operation for change in client.fake.applied] == operations
        assert [operation for operation, _ in client.fake.sent_changes] == operations


@pytest.mark.parametrize("reading", READINGS)
async def test_a_deleted_session_is_gone(reading: str) -> None:
    async with asking(reading) as client:
        client.fake.add_archive(client.agent, row("old", client.fake.new_id()))
        filename = client.agent.archives[0].filename
        assert (await client.answer("archives/delete", {"filename": filename})).is_success
        assert (await client.answer("sessions/delete", {"key": KEY})).is_success
        assert await client.listed() == {}
        kept = [".deleted." in archive.filename for archive in client.agent.archives]
        assert kept == ([True] if reading == "openclaw" else [])


@pytest.mark.parametrize(
    ("switch", "path", "body", "status", "applied"),
    [
        ({"unknown_key": "upserts"}, "sessions/rename", {"key": "typo", "label": "New"}, 200, 1),
        ({"unknown_key": "upserts"}, "sessions/delete", {"key": "typo"}, 200, 0),
        ({"empty_label": "refused"}, "sessions/rename", {"key": KEY, "label": ""}, 422, 0),
        ({"absent_label": "refused"}, "sessions/rename", {"key": KEY}, 422, 0),
        ({"absent_label": "keeps"}, "sessions/rename", {"key": KEY}, 200, 0),
        ({"duplicate_labels": False}, "sessions/rename", {"key": KEY, "label": "Main"}, 409, 0),
        ({}, "sessions/rename", {"key": KEY, "label": "😀" * 255}, 200, 1),
        ({"label_counts": "utf16"}, "sessions/rename", {"key": KEY, "label": "😀" * 128}, 422, 0),
        ({"main_when_removed": "refused"}, "sessions/delete", {"key": MAIN}, 422, 0),
        ({}, "sessions/archive", {"key": "api:trip"}, 200, 1),
        ({"short_keys": False}, "sessions/archive", {"key": "api:trip"}, 404, 0),
        ({"change_answer": "no_content"}, "sessions/archive", {"key": KEY}, 204, 1),
        ({"coerces_limit": False}, "sessions/history", {"sessionKey": KEY, "limit": "10"}, 422, 0),
        ({"traversal": 404}, "archives/delete", {"filename": "../a"}, 404, 0),
        ({"malformed": 400}, "sessions/archive", b"{", 400, 0),
    ],
)
async def test_each_switch_changes_a_response(
    switch: JsonObject, path: str, body: Json, status: int, applied: int
) -> None:
    async with asking(replace(DEFAULT, **switch)) as client:
        client.fake.add_session(client.agent, row(MAIN, client.fake.new_id(), label="Main"))
        assert (await client.answer(path, body)).status_code == status
        assert len(client.fake.applied) == applied


async def test_a_session_key_can_start_a_new_session_after_a_deletion() -> None:
    async with asking(replace(DEFAULT, main_when_removed="anew", archive_resets=True)) as client:
        client.fake.add_session(client.agent, row(MAIN, client.fake.new_id(), label="Main"))
        before = await client.listed()
        await client.ask("sessions/delete", {"key": MAIN})
        await client.ask("sessions/archive", {"key": KEY})
        after = await client.listed()
        assert set(after) == set(before)
        assert not {item["sessionId"] for item in after.values()} & {item["sessionId"] for item in before.values()}
        await client.ask("archives/restore", {"filename": client.agent.archives[0].filename})
        assert len(await client.listed()) == 3


async def test_a_browser_gets_html(client: Client) -> None:
    assert (await client.answer("sessions/archive", {}, accept="*/*")).status_code == 422
    async with asking("other") as other:
        answer = await other.answer("sessions/archive", {}, accept="*/*")
        assert (answer.status_code, answer.headers["location"]) == (302, "/")
        answer = await other.answer("nowhere", accept="text/html")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=UTF-8")
        assert error(await other.answer("sessions/archive", {}))[0] == 422


async def test_a_history_has_the_newest_messages(client: Client) -> None:
    client.session.messages += [user(f"{number}", timestamp=number * 1000) for number in range(300)]

    async def texts(client: Client, **limit: int) -> list[str]:
        messages = await client.ask("sessions/history", {"sessionKey": KEY, **limit})
        return [said["content"] for said in messages]

    assert await texts(client, limit=2) == ["298", "299"]
    assert len(await texts(client)) == 200
    async with asking(replace(READINGS["other"], history_shape="array")) as other:
        other.session.messages += client.session.messages
        assert await texts(other, limit=2) == ["299", "298"]
        assert len(await texts(other)) == 50


@pytest.mark.parametrize("reading", READINGS)
async def test_unusual_rows_follow_the_schemas_in_every_reading(reading: str) -> None:
    async with asking(reading) as client:
        seed_usual(client.fake, client.fake.agents[1])
        for number in range(4):
            client.fake.add_archive(client.fake.agents[1], row(f"{number}", client.fake.new_id()))
        rows = [await client.ask("sessions", agent=client.fake.agents[1].id) for _ in range(2)]
        assert rows[0] != rows[1]
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1]))
        history = {"sessionKey": MAIN, "limit": 1000}
        answer = await client.ask("sessions/history", history, agent=client.fake.agents[1].id)
        assert len(answer["messages"] if reading == "other" else answer) == len(odd_messages())
        assert await client.ask("archives", agent=client.fake.agents[1].id)


async def test_a_response_that_breaks_the_schemas_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="updatedAt is str"):
        async with asking() as client:
            client.session.row["updatedAt"] = "today"
            await client.ask("sessions")


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("Z", "2026-01-02T03:04:05.678Z"),
        ("offset", "2026-01-02T05:04:05.678000+02:00"),
        ("filename", "2026-01-02T03-04-05.678Z"),
        ("epoch", "1767323045678"),
        ("absent", None),
    ],
)
async def test_the_time_of_archiving_has_several_formats(form: str, told: str | None) -> None:
    switch: JsonObject = {"archived_at": form}
    async with asking(replace(DEFAULT, **switch)) as client:
        client.fake.now = (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(milliseconds=678)).timestamp
        await client.ask("sessions/archive", {"key": KEY})
        (archive,) = await client.ask("archives")
        assert archive.get("archivedAt") == told
        assert archive["filename"] == f"{archive['sessionId']}.jsonl.reset.2026-01-02T03-04-05.678Z"


async def test_requests_are_recorded_as_sent(client: Client) -> None:
    await asyncio.gather(client.ask("sessions"), client.ask("archives"))
    await client.ask("sessions/archive", {"key": "unknown"})
    sent = client.fake.requests[-1]
    assert (sent.method, sent.json) == ("POST", {"key": "unknown"})
    assert sent.target == f"/api/v1/agents/{client.agent.id}/sessions/archive"
    assert sent.head.count(client.token) == 1
    assert client.fake.statuses == [200, 200, 404]
    assert client.fake.sent_changes == [("sessions/archive", {"key": "unknown"})]
