"""A reader that turns responses, up to a limit of bytes, into a `Reply` or an `AttemptFailure` with our own message."""

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import httpx2
from pydantic_core import from_json

from ...errors import (
    BadResponse,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    SessionsError,
    Unauthorized,
    Unavailable,
)
from ...json_documents import Json, is_array, is_object
from .credentials import Credential
from .retry import AttemptFailure, FailureKind, parse_retry_after

_MAX_EXPLANATION_BYTES = 64 * 1024
_EXPLANATION_SECONDS = 2.0

_REFUSALS: dict[int, tuple[type[SessionsError], str]] = {
    400: (Invalid, "{} rejected the request as malformed. Check the arguments."),
    401: (Unauthorized, "{} {refusal}"),
    403: (Forbidden, "{} doesn't allow this with {credential}. Use one that has permission."),
    404: (NotFound, "{} has nothing with that id. Find the session with list_sessions."),
    409: (Conflict, "{} reports a conflict with its current data. Read the session again before you change it."),
    413: (Invalid, "{} does not accept a request this large. Send less at once."),
    422: (Invalid, "{} rejected the arguments. Check them."),
}


def _parse_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _without_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if is_object(value):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if is_array(value) else value


# Also matches half of a valid pair, which `_without_surrogates` leaves unchanged.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(parse_constant=_parse_float, parse_float=_parse_float)


class TooLarge(BadResponse):
    """A 2xx response with a body that is longer than the limit."""


class Redirect(BadResponse):
    """A redirect. It is not followed, because the credential may not be sent to another address."""


class ServerFailed(Unavailable):
    """A response with status 500, or another 5xx that is not temporary. The same request would fail again."""


@dataclass(frozen=True)
class Reply:
    """A response: the status, and the whole body of a 2xx or the beginning of any other body.

    `headers` are those of a 2xx, by names in lower case.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def json(self) -> Json:
        """Return the body as JSON. Raise `BadResponse` if it isn't JSON. `read_json` documents the conversion."""
        return read_json(self.body)


def read_json(body: bytes) -> Json:
    """Return the value of JSON text. Raise `BadResponse` if it isn't JSON.

    NaN and Infinity, which JSON lacks, become None, and unpaired surrogates, which can't be encoded as UTF-8, become
    U+FFFD. A number beyond a float's range (1e999) becomes infinity or None.
    """
    with suppress(ValueError):  # for what only Python's parser accepts: NaN, surrogates, deep nesting
        return from_json(body, allow_inf_nan=False, cache_strings="keys")  # in half the time of Python's parser
    try:
        value = _DECODER.decode(body.decode())
        return _without_surrogates(value) if _SURROGATE.search(body) else value
    except (ValueError, RecursionError) as error:
        raise BadResponse("the backend's response is not JSON. Check its address.") from error


def no_explanation(reply: Reply, credential: str) -> SessionsError | None:
    """Return None: the default for `explain`."""
    return None


@dataclass(frozen=True)
class ResponseReader:
    """Reads responses of one system.

    `explain` gets each 4xx response and the credential's name, and may return a more exact error.
    """

    system: str
    explain: Callable[[Reply, str], SessionsError | None]
    credential: Credential

    async def read(self, response: httpx2.Response, max_bytes: int) -> Reply | AttemptFailure:
        """Read and close a response. Unless the whole body was read, its connection is closed too."""
        try:
            if response.is_success:
                return await self._read_success(response, max_bytes)
            return await self._read_failure(response)
        finally:
            await response.aclose()

    async def _read_success(self, response: httpx2.Response, max_bytes: int) -> Reply | AttemptFailure:
        if _is_compressed(response):
            message = f"{self.system} sent a compressed response. Turn off compression in its proxy or server."
            return AttemptFailure(FailureKind.UNREADABLE, BadResponse(message))
        body: list[bytes] = []
        announced = int(response.headers.get("content-length", 0))
        try:
            is_whole = announced <= max_bytes and await _read_body(response, body, max_bytes)
        except httpx2.TransportError as error:
            return AttemptFailure(
                FailureKind.TRUNCATED,
                Unavailable(f"{self.system} closed the connection before the end of its response. Try again."),
                error,
            )
        if not is_whole:
            message = f"{self.system} sent a response of more than {_size(max_bytes)}. Request less at once."
            return AttemptFailure(FailureKind.UNREADABLE, TooLarge(message))
        return Reply(response.status_code, b"".join(body), response.headers)

    async def _read_failure(self, response: httpx2.Response) -> AttemptFailure:
        status = response.status_code
        retry_after = parse_retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
        later = "later" if retry_after is None else f"in {math.ceil(retry_after)} s"
        if status >= 500:  # not read, so its connection is closed: AgentOS closes it too, without notice
            kind = {502: FailureKind.GATEWAY, 503: FailureKind.OVERLOADED, 504: FailureKind.GATEWAY}.get(
                status, FailureKind.FAILED
            )
            error_type = ServerFailed if kind is FailureKind.FAILED else Unavailable
            return AttemptFailure(
                kind, error_type(f"{self.system} failed (HTTP {status}). Try again {later}."), retry_after=retry_after
            )
        if status < 400:
            message = f"{self.system} answered with a redirect (HTTP {status}), which is not followed."
            return AttemptFailure(
                FailureKind.REDIRECTED,
                Redirect(f"{message} Set the backend's URL to the address of {self.system} itself."),
            )
        error = await self._explain(response)
        if status == 429:
            limited = RateLimited(f"{self.system} limits the rate of requests. Try again {later}.")
            return AttemptFailure(FailureKind.RATE_LIMITED, error or limited, retry_after=retry_after)
        unknown = (
            BadResponse,
            f"{{}} answered with an unexpected HTTP status ({status}). Check its version and address.",
        )
        error_type, message = _REFUSALS.get(status, unknown)
        message = message.format(self.system, refusal=self.credential.refusal, credential=self.credential.name)
        return AttemptFailure(FailureKind.REFUSED, error or error_type(message))

    async def _explain(self, response: httpx2.Response) -> SessionsError | None:
        body: list[bytes] = []
        with anyio.move_on_after(_EXPLANATION_SECONDS), suppress(httpx2.TransportError):
            await _read_body(response, body, _MAX_EXPLANATION_BYTES)
        try:
            return self.explain(Reply(response.status_code, b"".join(body)), self.credential.name)
        except BadResponse:
            return None  # the body is not JSON


async def _read_body(response: httpx2.Response, body: list[bytes], max_bytes: int) -> bool:
    """Append at most `max_bytes` of the raw body to `body`. Return whether that is the whole body."""
    remaining = max_bytes
    try:
        async for chunk in response.aiter_raw():
            body.append(chunk[: max(remaining, 0)])
            remaining -= len(chunk)
            if remaining < 0:
                await response.aclose()  # the next chunk then raises an error, which ends all generators of httpx2
    except httpx2.TransportError:
        if remaining >= 0:
            raise
    return remaining >= 0


def _is_compressed(response: httpx2.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count} bytes"
