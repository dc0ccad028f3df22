"""The connections to one system, and whose turn it is: shared by all who call it, with whatever credential."""

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


class Pool:
    """`at_once` requests are in flight at most, `queue` more wait. Enter it with `async with`."""

    # httpx2's transport, not its client: no cookies, no redirects, and no log line with the URL of each request.
    _transport: httpx2.AsyncHTTPTransport | None = None

    def __init__(self, base: str, *, trust_env: bool, at_once: int, queue: int, clock: Callable[[], float]) -> None:
        self.budget = RetryBudget(clock)
        self._base = base
        self._trust_env = trust_env
        self._at_once = at_once
        self._most_queued = queue
        self._queued = 0
        self._pace = 1.0  # seconds that a request takes, smoothed
        self._slots = anyio.Semaphore(at_once)

    async def __aenter__(self) -> None:
        try:
            self._transport = httpx2.AsyncHTTPTransport(
                verify=self._base.startswith("https:"),  # plain http needs no certificates, which take time to load
                trust_env=self._trust_env,
                proxy=proxy_for(self._base) if self._trust_env else None,
                limits=httpx2.Limits(
                    max_connections=self._at_once,
                    max_keepalive_connections=self._at_once,
                    keepalive_expiry=_KEEPALIVE_SECONDS,
                ),
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise Invalid("the proxy that the environment names can't be used. Name an http:// one.") from error
        await self._transport.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.__aexit__(kind, error, traceback)

    @property
    def must_wait(self) -> bool:
        return self._slots.value == 0

    @property
    def is_full(self) -> bool:
        return self.must_wait and self._queued >= self._most_queued

    def seconds_to_wait(self, most: float) -> int:
        """How long who comes now should stay away."""
        return max(1, math.ceil(min(most, self._pace * self._queued / self._at_once)))

    async def wait(self) -> None:
        """Come back when it is one's turn, which `turn` then is."""
        waits = self.must_wait
        self._queued += waits
        try:
            await self._slots.acquire()
        finally:
            self._queued -= waits

    @contextmanager
    def turn(self) -> Generator[None]:
        began = anyio.current_time()
        try:
            yield
        finally:
            self._slots.release()
            self._pace += 0.1 * (anyio.current_time() - began - self._pace)

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Raises `Unavailable` outside of `async with`, and what httpx2 raises."""
        if self._transport is None:
            raise Unavailable("the connection is closed. Enter the backend with `async with` first.")
        return await self._transport.handle_async_request(request)
