"""Which requests are retried, how often, and after which delay."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import anyio
import pytest

from mcp_sessions.backends.http.client import AnswerLost, HttpClient
from mcp_sessions.backends.http.retry import RetryBudget, parse_retry_after, retry_delay
from mcp_sessions.errors import NotFound, RateLimited, SessionsError, Unavailable
from tests.support.servers.toxic_server import Answer, Connection, ToxicServer, toxic_server, whole

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=pytest.mark.variants)], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def server() -> AsyncGenerator[ToxicServer]:
    async with toxic_server() as server:
        yield server


@pytest.fixture
async def client(server: ToxicServer) -> AsyncGenerator[HttpClient]:
    async with HttpClient(server.url, system="AgentOS") as client:
        yield client


DROP, RESET = Connection.close, Connection.reset
LIMITED = whole(429, b"", "Retry-After: 0")


@pytest.mark.parametrize("fault", [DROP, RESET, LIMITED, whole(429), whole(502), whole(503), whole(504)])
async def test_a_read_is_retried_twice(server: ToxicServer, client: HttpClient, fault: Answer) -> None:
    server.script = [fault, fault, whole()]
    await client.read("/sessions")
    server.script = [fault] * 3
    with pytest.raises((RateLimited, Unavailable)):
        await client.read("/sessions")
    assert len(server.received) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 501, 302])
async def test_a_read_that_would_fail_again_is_not_retried(
    server: ToxicServer, client: HttpClient, status: int
) -> None:
    server.default = whole(status)
    with pytest.raises(SessionsError):
        await client.read("/sessions")
    assert len(server.received) == 1


async def test_a_temporarily_refused_change_is_retried_twice(server: ToxicServer, client: HttpClient) -> None:
    server.script = [LIMITED, LIMITED]
    await client.change("POST", "/sessions", idempotent=False)
    server.script = [LIMITED] * 3
    with pytest.raises(RateLimited):
        await client.change("POST", "/sessions", idempotent=False)
    assert len(server.received) == 6


@pytest.mark.parametrize("drop", [DROP, RESET])
async def test_a_change_on_a_dropped_connection_is_retried_once(
    server: ToxicServer, client: HttpClient, drop: Answer
) -> None:
    server.script = [drop]
    await client.change("DELETE", "/sessions/a")
    server.script = [drop, drop]
    with pytest.raises(AnswerLost) as caught:
        await client.change("DELETE", "/sessions/a")
    assert not caught.value.ended
    assert len(server.received) == 4


async def test_a_change_that_must_not_run_twice_is_not_retried(server: ToxicServer, client: HttpClient) -> None:
    server.script = [DROP]
    with pytest.raises(AnswerLost) as caught:
        await client.change("POST", "/sessions", idempotent=False)
    assert not caught.value.ended
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_change_that_caused_a_server_error_is_not_retried(
    server: ToxicServer, client: HttpClient, status: int
) -> None:
    server.script = [whole(status)]
    with pytest.raises(AnswerLost):
        await client.change("DELETE", "/sessions/a")
    assert len(server.received) == 1


@pytest.mark.parametrize("second", [whole(404), whole(500), whole(200, b"x", "Content-Encoding: gzip")])
async def test_the_response_to_a_retry_does_not_prove_what_the_first_try_did(
    server: ToxicServer, client: HttpClient, second: Answer
) -> None:
    server.script = [DROP, second]
    with pytest.raises(AnswerLost) as caught:
        await client.change("DELETE", "/sessions/a")
    assert not caught.value.ended


async def test_a_change_refused_before_its_connection_dropped_was_not_made(
    server: ToxicServer, client: HttpClient
) -> None:
    server.script = [LIMITED, whole(404)]
    with pytest.raises(NotFound):
        await client.change("DELETE", "/sessions/a")


async def test_a_connection_closed_by_the_server_while_idle_causes_no_error(
    server: ToxicServer, client: HttpClient
) -> None:
    async def answers_and_closes(connection: Connection) -> None:
        await whole()(connection)
        await connection.close()

    server.default = answers_and_closes
    for _ in range(20):
        await client.read("/sessions")
        await anyio.wait_all_tasks_blocked()
        await client.change("DELETE", "/sessions/a")
    assert len(server.received) == 40


async def test_a_delay_longer_than_the_deadline_is_not_started(server: ToxicServer, client: HttpClient) -> None:
    server.default = whole(429, b"", "Retry-After: 30")
    with anyio.fail_after(5), pytest.raises(RateLimited, match="in 30 s"):
        await client.read("/sessions")
    with anyio.fail_after(5), pytest.raises(RateLimited, match="in 30 s"):
        await client.change("DELETE", "/sessions/a")
    assert len(server.received) == 2


class Clock:
    """A clock that returns the seconds that a test sets."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.slow
async def test_retries_add_at_most_a_tenth_to_the_requests_to_a_dead_server(server: ToxicServer) -> None:
    server.default = whole(503)

    async def caller(client: HttpClient) -> None:
        for _ in range(65):
            with pytest.raises(Unavailable):
                await client.read("/sessions")

    # Its clock stands still: time brings retries back too, and a busy machine takes some.
    async with HttpClient(server.url, system="AgentOS", clock=Clock()) as client, anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(caller, client)
    assert 520 < len(server.received) <= 572


def spent(budget: RetryBudget) -> int:
    """Spend the whole budget, and return how many retries it held."""
    return sum(budget.spend() for _ in range(100))


def test_the_retry_budget_is_at_most_five() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(10_000):
        budget.earn()
    clock.seconds += 86_400
    assert spent(budget) == 5


def test_a_spent_retry_budget_regains_one_retry_every_30_seconds() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    assert spent(budget) == 5
    for seconds, retries in ((29, 0), (1.5, 1), (29, 0), (1.5, 1), (60.5, 2), (3600, 5)):
        clock.seconds += seconds
        assert spent(budget) == retries


def test_a_spent_retry_budget_also_regains_retries_with_requests() -> None:
    budget = RetryBudget(Clock())
    assert spent(budget) == 5
    for _ in range(25):
        budget.earn()
    assert spent(budget) == 2


async def test_a_server_that_failed_often_an_hour_ago_gets_two_retries_again(server: ToxicServer) -> None:
    clock = Clock()
    async with HttpClient(server.url, system="AgentOS", clock=clock) as client:
        server.default = whole(503)
        for sent in (3, 6, 8, 9):  # the fifth retry is the last
            with pytest.raises(Unavailable):
                await client.read("/sessions")
            assert len(server.received) == sent
        clock.seconds += 3600
        server.script = [whole(503), whole(503), whole()]
        await client.read("/sessions")
        assert len(server.received) == 12


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        (" 12 ", 12),
        ("1000000000", 86_400),
        ("9" * 5_000, 86_400),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Fri, 01 Jan 2099 11:00:00 GMT", 86_400),
        *((garbage, None) for garbage in ("", "soon", "-1", "1.5", "inf", "²", "Thu, 99 Jan 2026 12:00:00 GMT")),
        *(
            (garbage, None)
            for garbage in ("Thu, 01 Jan 99999999999 12:00:00 GMT", "Thu, 01 Jan 2026 12:00:00 +9999999")
        ),
    ],
)
def test_the_delay_that_a_server_asks_for_is_read_and_limited(header: str, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


def test_a_retry_delay_is_jittered_limited_and_never_shorter_than_asked() -> None:
    for retries, most in ((0, 0.1), (1, 0.2), (10, 2)):
        pauses = [retry_delay(retries, None) for _ in range(200)]
        assert 0 <= min(pauses) < most / 2 < max(pauses) <= most
        assert 7 <= retry_delay(retries, 7) <= 9
