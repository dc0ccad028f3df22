"""The faults that tests can set for responses of the fake Guayaba."""

import json
from collections.abc import AsyncGenerator
from email.utils import parsedate_to_datetime

import anyio
import httpx2
import pytest

from ...support.fakes.guayaba import FakeGuayaba, Fault, html_page, limited, redirected, shaped
from ...support.fakes.guayaba.faults import Kind
from ...support.fakes.guayaba.seeds import row

KEY = "agent:main:api:trip"


@pytest.fixture
async def fake() -> AsyncGenerator[FakeGuayaba]:
    async with FakeGuayaba() as fake:
        fake.add_session(fake.agents[0], row(KEY, fake.new_id()))
        yield fake


@pytest.fixture
async def client(fake: FakeGuayaba) -> AsyncGenerator[httpx2.AsyncClient]:
    url = f"{fake.url}/agents/{fake.agents[0].id}"
    headers = {"authorization": f"Bearer {fake.master_key}", "accept": "application/json"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False, verify=False) as client:
        yield client


async def archive(client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.post("/sessions/archive", json={"key": KEY})


@pytest.mark.parametrize(("after", "applied"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("kind", ["drop", "answer"])
async def test_a_response_is_lost_or_replaced_before_or_after_the_change(
    fake: FakeGuayaba, client: httpx2.AsyncClient, kind: Kind, after: bool, applied: int
) -> None:
    fake.fail_next(Fault(kind, after=after, status=502))
    if kind == "drop":
        with pytest.raises(httpx2.RemoteProtocolError):
            await archive(client)
        assert fake.statuses == [0]
    else:
        assert (await archive(client)).json() == {"error": "Bad Gateway", "message": "Something went wrong."}
    assert len(fake.applied) == applied


@pytest.mark.parametrize("kind", ["cut", "garbage"])
async def test_a_response_is_interrupted_or_is_not_http(
    fake: FakeGuayaba, client: httpx2.AsyncClient, kind: Kind
) -> None:
    fake.fail_next(Fault(kind))
    with pytest.raises(httpx2.RemoteProtocolError):
        await archive(client)
    assert len(fake.applied) == 1


async def test_a_response_has_only_half_of_its_json(fake: FakeGuayaba, client: httpx2.AsyncClient) -> None:
    fake.fail_next(Fault("truncated", path="/sessions"))
    answer = await client.get("/sessions")
    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_a_change_takes_effect_after_its_client_disconnected(
    fake: FakeGuayaba, client: httpx2.AsyncClient
) -> None:
    fault = fake.fail_next(Fault("hold"))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(archive, client)
            await fault.entered.wait()
            tasks.cancel_scope.cancel()
        assert len((await client.get("/sessions")).json()) == 1
        fault.released.set()
        await fake.settle()
    assert len(fake.applied) == 1
    assert (await client.get("/sessions")).json() == []


async def test_a_change_takes_effect_some_requests_later(fake: FakeGuayaba, client: httpx2.AsyncClient) -> None:
    fake.fail_next(Fault("late", later=2))
    with pytest.raises(httpx2.RemoteProtocolError):
        await archive(client)
    assert [len((await client.get("/sessions")).json()) for _ in range(3)] == [1, 0, 0]
    assert len(fake.applied) == 1
    fake.fail_next(Fault("late"))
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post("/archives/delete", json={"filename": fake.agents[0].archives[0].filename})
    await fake.settle()
    assert fake.agents[0].archives == []


async def test_the_second_half_of_a_response_is_delayed(fake: FakeGuayaba, client: httpx2.AsyncClient) -> None:
    fault = fake.fail_next(Fault("stall"))
    with anyio.fail_after(5):
        async with client.stream("GET", "/sessions") as answer:
            parts = answer.aiter_raw()
            first = await anext(parts)
            fault.released.set()
            rest = b"".join([part async for part in parts])
    assert 0 < len(first) < len(first + rest) == int(answer.headers["content-length"])


async def test_a_fault_applies_to_the_request_it_is_for(fake: FakeGuayaba, client: httpx2.AsyncClient) -> None:
    fake.fail_next(Fault("answer", status=500, method="POST", path="/archive", times=2))
    fake.fail_next(Fault("answer", agent_id=fake.agents[1].id))
    asked = [(await client.get("/sessions")).status_code, *[(await archive(client)).status_code for _ in range(3)]]
    assert asked == [200, 500, 500, 200]
    other = client.base_url.copy_with(path=f"/api/v1/agents/{fake.agents[1].id}/sessions")
    assert [(await client.get(other)).status_code for _ in range(2)] == [503, 200]


async def test_a_proxy_and_a_rate_limit_answer_in_its_place(fake: FakeGuayaba, client: httpx2.AsyncClient) -> None:
    for fault in (html_page(200), redirected("http://example.org/"), shaped({"a": 1}), limited(7), limited()):
        fake.fail_next(fault)
    answers = [await client.get("/sessions") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 302, 200, 429, 429]
    page, redirect, wrong, *limits = answers
    assert (page.headers["content-type"], redirect.headers["location"]) == ("text/html", "http://example.org/")
    assert wrong.json() == {"a": 1}
    assert [answer.headers.get("retry-after") for answer in limits] == ["7", None]
    assert limits[0].json()["error"] == "Too Many Requests"
    fake.fail_next(limited(7, as_date=True))
    assert parsedate_to_datetime((await client.get("/sessions")).headers["retry-after"]).tzinfo
