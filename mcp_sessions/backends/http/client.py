"""One client for every backend that is reached over HTTP: deadlines, limits, retries, and statuses as errors."""

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import anyio
import httpx2

from ...errors import (
    Busy,
    Invalid,
    OutcomeUnknown,
    SessionsError,
    Timeout,
    Unavailable,
)
from ...json_documents import JsonObject
from .attempt import MOST_BYTES, Exchange
from .connections import Pool
from .credentials import ANONYMOUS, Credential
from .responses import Reader, Redirected, Reply, ServerFailed, TooLarge, unexplained
from .retry import ENDED, NOT_RUN, Failure, Kind, pause_before, why_unsent
from .urls import base_of, headers_of, path, server_of

__all__ = ["MOST_BYTES", "AnswerLost", "HttpClient", "Redirected", "Reply", "ServerFailed", "TooLarge", "path"]

_CONNECT_SECONDS = 3.0
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
    UnicodeError,
)  # trio: for a host that IDNA refuses

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class AnswerLost(OutcomeUnknown):
    """A change was sent, and its answer does not say whether it was made. The sender finds out by reading back.

    `failure` is what was wrong with the answer. `ended`: the server is done with the request, so that reading back
    tells whether the change was made; otherwise the server may still make it.
    """

    def __init__(self, message: str, failure: SessionsError, *, ended: bool) -> None:
        super().__init__(message)
        self.failure = failure
        self.ended = ended

    def not_made(self) -> SessionsError:
        """Return the error for a change that reading back does not show."""
        if not self.ended:
            return self
        return type(self.failure)(f"the change was not made: {self.failure.message}")


class HttpClient:
    """A connection pool to one system, named `system` in sentences. Enter it with `async with`.

    `timeout` is in seconds and bounds each read and change, or all of those inside one `call()`. `explain` may turn
    a 4xx into an error of its own; it is told what the credential is in a sentence. `at_once` requests are in flight
    at most, `queue` more wait. `clock` returns seconds and never goes back; retries are limited by it. Raises
    `Invalid` for a URL, credential or header that can't be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        system: str,
        credential: Credential = ANONYMOUS,
        timeout: float = 25,
        headers: Mapping[str, str] = {},
        trust_env: bool = False,
        allow_http: bool = False,
        explain: Callable[[Reply, str], SessionsError | None] = unexplained,
        at_once: int = 8,
        queue: int = 256,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._base = base_of(base_url, allow_http=allow_http)
        self._server = server_of(self._base)
        self._given = headers
        self._headers = httpx2.Headers(headers_of(credential, headers))
        self._system = system
        self._timeout = timeout
        self._reader = Reader(system, explain, credential)
        self._pool = Pool(self._base, trust_env=trust_env, at_once=at_once, queue=queue, clock=clock)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, traceback)

    def bearing(self, credential: Credential) -> Self:
        """The same connections, called with this credential. Raises as making one does, or `Unauthorized`."""
        sibling = copy(self)
        sibling._headers = httpx2.Headers(headers_of(credential, self._given))
        sibling._reader = replace(self._reader, credential=credential)
        return sibling

    @property
    def credential(self) -> Credential:
        return self._reader.credential

    @property
    def address(self) -> str:
        """What paths are appended to: always spelt the same, without a credential."""
        return self._base

    def call(self) -> AbstractContextManager[None]:
        """One deadline for every request made inside; inside another call, that one's."""
        return _one_deadline(self._timeout)

    async def read(
        self,
        path: str,
        *,
        params: Mapping[str, str | int] = {},
        json: JsonObject | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> Reply:
        """GET, or POST with what is asked, repeated where that helps. Raises a `SessionsError` but for a 2xx."""
        request = self._request("GET" if json is None else "POST", path, params, json)
        return await self._run(Exchange(request, self._ends_at(), most_bytes))

    async def change(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] = {},
        json: JsonObject | None = None,
        repeatable: bool = True,
    ) -> Reply:
        """Any other request. `repeatable`: doing it twice is doing it once.

        Raises `AnswerLost` where it may have run, and has kept time for reading back; every other error says that
        it did not run.
        """
        request = self._request(method, path, params, json)
        ends_at = self._ends_at()
        kept_back = min(5, (ends_at - anyio.current_time()) / 3)
        exchange = Exchange(request, ends_at - kept_back, reads=False, repeatable=repeatable)
        request.extensions["trace"] = exchange.trace
        return await self._run(exchange)

    def _ends_at(self) -> float:
        deadline = _deadline.get()
        return anyio.current_time() + self._timeout if deadline is None else deadline

    def _request(
        self, method: str, path: str, params: Mapping[str, str | int], content: JsonObject | None = None
    ) -> httpx2.Request:
        self.credential.require()
        headers, body = self._headers, None
        try:
            if content is not None:
                headers = self._headers | {"Content-Type": "application/json"}
                body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            query = f"?{urlencode(params)}" if params else ""
            return httpx2.Request(method, f"{self._base}{path}{query}", headers=headers, content=body)
        except (ValueError, RecursionError) as error:
            raise Invalid("half a surrogate pair, NaN or endless nesting can't be sent. Leave it out.") from error
        except httpx2.InvalidURL as error:
            raise Invalid("that is too long to be asked for. Shorten it.") from error

    async def _run(self, exchange: Exchange) -> Reply:
        self._pool.budget.earn()
        with anyio.CancelScope(deadline=exchange.deadline):
            for retries in count():
                exchange.tries = retries
                in_doubt = exchange.may_have_run
                outcome = await self._try(exchange)
                if isinstance(outcome, Reply):
                    return outcome
                if outcome.kind in NOT_RUN:
                    exchange.may_have_run = in_doubt
                pause = pause_before(retries, outcome.wait)
                fits = anyio.current_time() + pause < exchange.deadline
                again = fits and exchange.may_go_again(outcome, retries, in_doubt=in_doubt)
                if not (again and self._pool.budget.spend()):
                    raise self._told(exchange, outcome, in_doubt=in_doubt) from outcome.cause
                await anyio.sleep(pause)
        if exchange.may_have_run:
            raise self._lost(self._late(), ended=False)
        raise self._busy() if exchange.queued else self._late()

    def _told(self, exchange: Exchange, failure: Failure, *, in_doubt: bool) -> SessionsError:
        if not exchange.may_have_run:
            return failure.error
        return self._lost(failure.error, ended=failure.kind in ENDED and not in_doubt)

    def _lost(self, failure: SessionsError, *, ended: bool) -> AnswerLost:
        return AnswerLost(
            f"{self._system} was sent the change, and gave no answer that tells what became of it. "
            "Look at the session before you repeat it.",
            failure,
            ended=ended,
        )

    def _late(self) -> Timeout:
        return Timeout(f"{self._system} did not answer within {self._timeout:g} s. Try again, or raise --timeout.")

    def _busy(self) -> Busy:
        seconds = self._pool.seconds_to_wait(self._timeout)
        return Busy(f"too many calls wait for {self._system} already. Try again in {seconds} s.")

    async def _try(self, exchange: Exchange) -> Reply | Failure:
        if self._pool.is_full:
            return Failure(Kind.REFUSED, self._busy())
        exchange.queued = self._pool.must_wait
        await self._pool.wait()
        exchange.queued = False
        # A little less than what is left: httpx2 closes a socket that failed in a handshake, not one cancelled there.
        with self._pool.turn():
            connect = min(_CONNECT_SECONDS, 0.9 * (exchange.deadline - anyio.current_time()))
            exchange.request.extensions["timeout"] = {"connect": connect}  # the scope around us bounds the rest
            return await exchange.traced(self._send, self._server)

    async def _send(self, exchange: Exchange) -> Reply | Failure:
        try:
            response = await self._pool.send(exchange.request)
            exchange.status = response.status_code
        except _UNSENT as error:
            told = f"{self._system} can't be reached: {why_unsent(error)}. Check that it runs, and --backend."
            return Failure(Kind.UNSENT, Unavailable(told), error)
        except httpx2.TransportError as error:
            told = f"{self._system} gave no whole answer. Try again, and check its address in --backend."
            return Failure(Kind.DROPPED, Unavailable(told), error)
        return await self._reader.read(response, exchange.most_bytes)


@contextmanager
def _one_deadline(seconds: float) -> Generator[None]:
    if _deadline.get() is not None:
        yield
        return
    token = _deadline.set(anyio.current_time() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)
