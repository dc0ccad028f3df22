"""The faults that tests can set for responses of the fake AgentOS."""

from collections.abc import AsyncGenerator

import anyio
import httpx2
import pytest

from ...support.fakes.agentos import FakeAgentOs, Fault

NAME = {"session_name": "New"}


@pytest.fixture
async def fake() -> AsyncGenerator[FakeAgentOs]:
    async with FakeAgentOs() as fake:
        fake.seed({"session_id": "a", "name": "Old", "component_id": "planner"})
        yield fake


@pytest.fixture
async def client(fake: FakeAgentOs) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=fake.url, trust_env=False, verify=False) as client:
        yield client


def name(fake: FakeAgentOs) -> str:
    stored = fake.stored("a")
    assert stored is not None
    return stored["session_data"]["session_name"]


@pytest.mark.parametrize(("after", "stored"), [(False, "Old"), (True, "New")])
async def test_a_connection_drops_before_or_after_a_request_took_effect(
    fake: FakeAgentOs, client: httpx2.AsyncClient, after: bool, stored: str
) -> None:
    fake.fail_next(Fault("drop", after=after))
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.patch("/sessions/a", json=NAME)
    assert name(fake) == stored
    assert (await client.patch("/sessions/a", json=NAME)).status_code == 200


async def test_a_response_is_cut_in_the_middle(fake: FakeAgentOs, client: httpx2.AsyncClient) -> None:
    fake.fail_next(Fault("cut"))
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.patch("/sessions/a", json=NAME)
    assert name(fake) == "New"


@pytest.mark.parametrize(("after", "stored"), [(False, "Old"), (True, "New")])
async def test_a_response_is_replaced_by_another_one(
    fake: FakeAgentOs, client: httpx2.AsyncClient, after: bool, stored: str
) -> None:
    fake.fail_next(Fault("answer", after=after, detail="Wait", headers={"retry-after": "7"}))
    answer = await client.patch("/sessions/a", json=NAME)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (503, "7", {"detail": "Wait"})
    assert name(fake) == stored


@pytest.mark.parametrize(("after", "stored"), [(False, "Old"), (True, "New")])
async def test_a_response_waits_until_it_is_released(
    fake: FakeAgentOs, client: httpx2.AsyncClient, after: bool, stored: str
) -> None:
    fault = fake.fail_next(Fault("hold", after=after))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.patch("/sessions/a", json=NAME))
            await fault.entered.wait()
            assert name(fake) == stored
            assert (await client.get("/sessions/a")).status_code == 200
            fault.released.set()
    assert name(fake) == "New"
    assert fake.most_at_once == 2


async def test_a_fault_applies_to_the_request_it_is_for(fake: FakeAgentOs, client: httpx2.AsyncClient) -> None:
    fake.fail_next(Fault("answer", method="POST", path="/rename"))
    assert (await client.get("/sessions/a")).status_code == 200
    assert (await client.post("/sessions/a/rename", json=NAME)).status_code == 503
    assert (await client.post("/sessions/a/rename", json=NAME)).status_code == 200
    assert [request.method for request in fake.requests] == ["GET", "POST", "POST"]
    assert fake.requests[-1].json == NAME


async def test_a_connection_is_closed_after_an_unexpected_error(fake: FakeAgentOs) -> None:
    async with await anyio.connect_tcp("127.0.0.1", int(fake.url.rpartition(":")[2])) as connection:
        await connection.send(b"GET /sessions?page=0 HTTP/1.1\r\n\r\nGET /sessions HTTP/1.1\r\n\r\n")
        with anyio.fail_after(5):
            received = b"".join([part async for part in connection])
    assert received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert received.count(b"HTTP/1.1") == 1


async def test_the_clock_can_be_set(fake: FakeAgentOs, client: httpx2.AsyncClient) -> None:
    fake.now = lambda: 1_700_000_000
    answer = await client.patch("/sessions/a", json=NAME)
    assert answer.json()["updated_at"] == "2023-11-14T22:13:20Z"
