"""The HTTP client of all backends: deadlines, limits, retries, and an error for each response that is not a 2xx."""

import json
from collections.abc import Callable, Mapping
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
from ..backend_type import OpenContext
from ..deadline import time_limit
from ..options import HttpOptions
from .attempt import MAX_BYTES, Exchange
from .connections import ConnectionPool
from .credentials import ANONYMOUS, Credential
from .responses import Redirect, Reply, ResponseReader, ServerFailed, TooLarge, no_explanation
from .retry import ENDED, NOT_RUN, AttemptFailure, FailureKind, connection_error_reason, retry_delay
from .urls import Authorization, bearer, path, request_headers, server_attributes, validate_base_url

__all__ = ["MAX_BYTES", "AnswerLost", "HttpClient", "Redirect", "Reply", "ServerFailed", "TooLarge", "path"]

_CONNECT_SECONDS = 3.0
_MAX_SECONDS_FOR_READ_BACK = 5
_MAX_TARGET = 65_536  # bytes
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
    UnicodeError,  # trio: for a host that IDNA refuses
)


class AnswerLost(OutcomeUnknown):
    """The error for a change that was sent and whose response doesn't show whether it was made.

    The sender finds out by reading back. `failure` is the error of the response. `ended`: the server is no longer
    working on the request, so that reading back shows whether the change was made.
    """

    def __init__(self, message: str, failure: SessionsError, *, ended: bool) -> None:
        super().__init__(message)
        self.failure = failure
        self.ended = ended

    def not_made_error(self) -> SessionsError:
        """Return the error to raise if reading back does not show the change."""
        if not self.ended:
            return self
        return type(self.failure)(f"the change was not made: {self.failure.message}")


class HttpClient:
    """An HTTP client for one system, with a connection pool. Enter it with `async with`.

    `system` is the system's name in error messages. `timeout` is the time for a read or change, in seconds, unless
    the `deadline` of the call ends earlier. At most `concurrency` requests are sent at the same time, and `max_queued`
    more wait. `explain` gets each 4xx response and the credential's name, and may return a more exact error. `clock`
    returns seconds and never goes back; it is used to limit retries. `token_variable` is the credential's environment
    variable, which error messages name. `authorization` returns the header that sends the credential.

    Raises `Invalid` for a URL, credential or header that can't be used.
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
        explain: Callable[[Reply, str], SessionsError | None] = no_explanation,
        concurrency: int = 8,
        max_queued: int = 256,
        clock: Callable[[], float] = monotonic,
        token_variable: str = "MCP_SESSIONS_TOKEN",
        authorization: Authorization = bearer,
    ) -> None:
        self._base_url = validate_base_url(base_url, allow_http=allow_http, token_variable=token_variable)
        self._url = httpx2.URL(self._base_url)
        self._base_path = self._url.raw_path.rstrip(b"/")
        self._server = server_attributes(self._base_url)
        self._custom_headers = headers
        self._authorization = authorization
        self._headers = httpx2.Headers(request_headers(credential, headers, authorization))
        self._system = system
        self.timeout = timeout
        self._reader = ResponseReader(system, explain, credential)
        self._pool = ConnectionPool(
            self._base_url, trust_env=trust_env, concurrency=concurrency, max_queued=max_queued, clock=clock
        )

    @classmethod
    def for_options(
        cls,
        url: str,
        options: HttpOptions,
        context: OpenContext,
        *,
        system: str,
        explain: Callable[[Reply, str], SessionsError | None] = no_explanation,
        authorization: Authorization = bearer,
        concurrency: int = 8,
    ) -> Self:
        """Return a client for a backend that is opened with these options."""
        return cls(
            url,
            system=system,
            timeout=options.timeout,
            trust_env=options.trust_env,
            allow_http=options.allow_http,
            explain=explain,
            token_variable=context.token_variable,
            authorization=authorization,
            concurrency=concurrency,
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, traceback)

    def with_credential(self, credential: Credential) -> Self:
        """Return a client that uses the same connections with this credential.

        Raise `Invalid`, or `Unauthorized` for a caller's credential, if it can't be sent.
        """
        sibling = copy(self)
        sibling._headers = httpx2.Headers(request_headers(credential, self._custom_headers, self._authorization))
        sibling._reader = replace(self._reader, credential=credential)
        return sibling

    @property
    def credential(self) -> Credential:
        """The credential of all requests."""
        return self._reader.credential

    @property
    def address(self) -> str:
        """The URL that paths are appended to, normalized and without a credential."""
        return self._base_url

    async def read(
        self,
        path: str,
        *,
        params: Mapping[str, str | int] = {},
        json: JsonObject | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> Reply:
        """Send a GET request, or a POST with `json`, and retry it if that may help.

        Raise a `SessionsError` for any response but a 2xx.
        """
        request = self._build_request("GET" if json is None else "POST", path, params, json)
        return await self._send_with_retries(Exchange(request, time_limit(self.timeout), max_bytes))

    async def change(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] = {},
        json: JsonObject | None = None,
        idempotent: bool = True,
    ) -> Reply:
        """Send a request that changes something. `idempotent`: making the change twice is the same as making it once.

        Raise `AnswerLost` if the request may have run, early enough for the caller to read back before the deadline.
        Any other error means that it did not run.
        """
        request = self._build_request(method, path, params, json)
        deadline = time_limit(self.timeout)
        reserved = min(_MAX_SECONDS_FOR_READ_BACK, (deadline - anyio.current_time()) / 3)
        exchange = Exchange(request, deadline - reserved, is_read=False, is_idempotent=idempotent)
        request.extensions["trace"] = exchange.trace
        return await self._send_with_retries(exchange)

    def _build_request(
        self, method: str, path: str, params: Mapping[str, str | int], content: JsonObject | None = None
    ) -> httpx2.Request:
        self.credential.require()
        headers, body = self._headers, None
        try:
            if content is not None:
                headers = self._headers | {"Content-Type": "application/json"}
                body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            query = f"?{urlencode(params)}" if params else ""
        except (ValueError, RecursionError) as error:
            raise Invalid(
                "an unpaired surrogate, NaN, or JSON that is nested too deeply can't be sent. Leave it out."
            ) from error
        target = self._base_path + f"{path}{query}".encode()
        if len(target) > _MAX_TARGET:
            raise Invalid("the arguments are too long for a URL. Shorten them.")
        # The target is an extension, since to parse a URL takes httpx2 a fifth of a request.
        return httpx2.Request(method, self._url, headers=headers, content=body, extensions={"target": target})

    async def _send_with_retries(self, exchange: Exchange) -> Reply:
        self._pool.retry_budget.earn()
        with anyio.CancelScope(deadline=exchange.deadline):
            for exchange.attempt in count():
                earlier_may_have_run = exchange.may_have_run
                outcome = await self._send_attempt(exchange)
                if isinstance(outcome, Reply):
                    return outcome
                if outcome.kind in NOT_RUN:
                    exchange.may_have_run = earlier_may_have_run
                delay = retry_delay(exchange.attempt, outcome.retry_after)
                fits = anyio.current_time() + delay < exchange.deadline
                may_retry = fits and exchange.may_retry(outcome, earlier_may_have_run=earlier_may_have_run)
                if not (may_retry and self._pool.retry_budget.spend()):
                    ended = outcome.kind in ENDED and not earlier_may_have_run
                    error = self._answer_lost(outcome.error, ended=ended) if exchange.may_have_run else outcome.error
                    raise error from outcome.cause
                await anyio.sleep(delay)
        if exchange.may_have_run:
            raise self._answer_lost(self._timeout_error(), ended=False)
        raise self._busy_error() if exchange.is_queued else self._timeout_error()

    def _answer_lost(self, failure: SessionsError, *, ended: bool) -> AnswerLost:
        return AnswerLost(
            f"the change was sent to {self._system}, but its response does not show whether the change was made. "
            "Look at the session before you repeat it.",
            failure,
            ended=ended,
        )

    def _timeout_error(self) -> Timeout:
        return Timeout(f"{self._system} did not answer within {self.timeout:g} s. Try again, or raise its timeout.")

    def _busy_error(self) -> Busy:
        seconds = self._pool.estimate_wait(self.timeout)
        return Busy(f"too many calls are waiting for {self._system}. Try again in {seconds} s.")

    async def _send_attempt(self, exchange: Exchange) -> Reply | AttemptFailure:
        if self._pool.is_queue_full:
            return AttemptFailure(FailureKind.REFUSED, self._busy_error())
        exchange.is_queued = self._pool.is_busy
        await self._pool.acquire_slot()
        exchange.is_queued = False
        with self._pool.slot():
            # httpx2 closes a socket whose TLS handshake times out, but not one that is cancelled in its handshake. So
            # let it time out before the deadline cancels it.
            connect = min(_CONNECT_SECONDS, 0.9 * (exchange.deadline - anyio.current_time()))
            exchange.request.extensions["timeout"] = {"connect": connect}
            return await exchange.send_in_span(self._send_once, self._server)

    async def _send_once(self, exchange: Exchange) -> Reply | AttemptFailure:
        try:
            response = await self._pool.send(exchange.request)
            exchange.status = response.status_code
        except _NOT_SENT as error:
            reason = connection_error_reason(error)
            message = f"{self._system} can't be reached: {reason}. Check that it is running, and its address."
            return AttemptFailure(FailureKind.UNSENT, Unavailable(message), error)
        except httpx2.TransportError as error:
            message = f"{self._system} sent no complete response. Try again, and check its address."
            return AttemptFailure(FailureKind.DROPPED, Unavailable(message), error)
        return await self._reader.read(response, exchange.max_bytes)
