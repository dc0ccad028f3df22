"""The connection pool of one system, and the queue for its connections, shared by all callers and credentials."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType

import anyio
import httpx2

from ...errors import Invalid, Unavailable
from .retry import RetryBudget
from .urls import proxy_for

_KEEPALIVE_SECONDS = 4.0  # uvicorn closes an idle connection after 5


class ConnectionPool:
    """At most `concurrency` connections, one request on each, and a queue of at most `max_queued` requests.

    Enter it with `async with`.
    """

    # The transport of httpx2 and not its client: no cookies, no redirects, and no log line with each request's URL.
    _transport: httpx2.AsyncHTTPTransport | None = None

    def __init__(
        self, base_url: str, *, trust_env: bool, concurrency: int, max_queued: int, clock: Callable[[], float]
    ) -> None:
        self.retry_budget = RetryBudget(clock)
        self._base_url = base_url
        self._trust_env = trust_env
        self._concurrency = concurrency
        self._max_queued = max_queued
        self._queued = 0
        self._seconds_per_request = 1.0  # a moving average
        self._slots = anyio.Semaphore(concurrency, fast_acquire=True)

    async def __aenter__(self) -> None:
        try:
            self._transport = httpx2.AsyncHTTPTransport(
                verify=self._base_url.startswith("https:"),  # loading certificates takes time, and http needs none
                trust_env=self._trust_env,
                proxy=proxy_for(self._base_url) if self._trust_env else None,
                limits=httpx2.Limits(
                    max_connections=self._concurrency,
                    max_keepalive_connections=self._concurrency,
                    keepalive_expiry=_KEEPALIVE_SECONDS,
                ),
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise Invalid("the proxy in the environment can't be used. Set it to an http:// URL.") from error
        await self._transport.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.__aexit__(kind, error, traceback)

    @property
    def is_busy(self) -> bool:
        """Whether all connections are in use."""
        return self._slots.value == 0

    @property
    def is_queue_full(self) -> bool:
        """Whether all connections are in use and no further request may wait for one."""
        return self.is_busy and self._queued >= self._max_queued

    def estimate_wait(self, limit: float) -> int:
        """Return how many seconds a new request would wait for a connection: at least 1, at most `limit`."""
        return max(1, math.ceil(min(limit, self._seconds_per_request * self._queued / self._concurrency)))

    async def acquire_slot(self) -> None:
        """Wait for a free connection. Then use the connection inside `slot`, which frees it."""
        waits = self.is_busy
        self._queued += waits
        try:
            await self._slots.acquire()
        finally:
            self._queued -= waits

    @contextmanager
    def slot(self) -> Generator[None]:
        """Use the connection that `acquire_slot` waited for, and free it at the end."""
        started_at = anyio.current_time()
        try:
            yield
        finally:
            self._slots.release()
            self._seconds_per_request += 0.1 * (anyio.current_time() - started_at - self._seconds_per_request)

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raise `Unavailable` outside of `async with`, and the errors of httpx2."""
        if self._transport is None:
            raise Unavailable("the connection is closed. Enter the backend with `async with` first.")
        return await self._transport.handle_async_request(request)
