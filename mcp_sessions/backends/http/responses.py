"""What a system answered, read to the limit: a reply, or a failure in our own words."""

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
import httpx2

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
from .retry import Failure, Kind, seconds_asked

_MOST_EXPLANATION = 64 * 1024
_EXPLANATION_SECONDS = 2.0

_REFUSALS: dict[int, tuple[type[SessionsError], str]] = {
    400: (Invalid, "{} refused the request as malformed. Check the arguments."),
    401: (Unauthorized, "{} {refusal}"),
    403: (Forbidden, "{} doesn't allow this with {credential}. Use one that may."),
    404: (NotFound, "{} has nothing by that id. List the sessions to see which there are."),
    409: (Conflict, "{} has something that this contradicts. Read it again before you change it."),
    413: (Invalid, "{} takes no request as large as this. Send less at once."),
    422: (Invalid, "{} refused the arguments. Check them."),
}


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _whole(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if is_object(value):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if is_array(value) else value


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # also half of a good pair: then nothing changes
_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


class TooLarge(BadResponse):
    """A good answer, longer than was to be read."""


class Redirected(BadResponse):
    """A redirect, which is not followed: the credential goes to no other address."""


class ServerFailed(Unavailable):
    """It answered, with a 500 or the like: what breaks it once breaks it always."""


@dataclass(frozen=True)
class Reply:
    """An answer: for a success its whole body, for a refusal at most the beginning."""

    status: int
    body: bytes

    def json(self) -> Json:
        """The body as JSON. Raises `BadResponse`.

        Numbers that JSON doesn't have (NaN, Infinity, 1e999) are None, and halves of surrogate pairs, which no text
        can hold, U+FFFD.
        """
        try:
            value = _DECODER.decode(self.body.decode())
            return _whole(value) if _SURROGATE.search(self.body) else value
        except (ValueError, RecursionError) as error:
            raise BadResponse("the backend answered something that is no JSON. Check the URL it is at.") from error


def unexplained(reply: Reply, credential: str) -> SessionsError | None:
    return None


@dataclass(frozen=True)
class Reader:
    """Reads responses of one system. `explain` may turn a 4xx into an error of its own, naming the credential."""

    system: str
    explain: Callable[[Reply, str], SessionsError | None]
    credential: Credential

    async def read(self, response: httpx2.Response, most_bytes: int) -> Reply | Failure:
        """Reads and closes a response; its connection is dropped unless the body was read to its end."""
        try:
            if response.is_success:
                return await self._success(response, most_bytes)
            return await self._failure(response)
        finally:
            await response.aclose()

    async def _success(self, response: httpx2.Response, most_bytes: int) -> Reply | Failure:
        if _is_compressed(response):
            told = f"{self.system} compressed its answer unasked. Turn that off in whatever is in front of it."
            return Failure(Kind.UNREADABLE, BadResponse(told))
        body: list[bytes] = []
        announced = int(response.headers.get("content-length", 0))
        try:
            whole = announced <= most_bytes and await _collect(response, body, most_bytes)
        except httpx2.TransportError as error:
            return Failure(Kind.CUT, Unavailable(f"{self.system} broke off its answer. Try again."), error)
        if not whole:
            told = f"{self.system} answered more than {_size(most_bytes)}. Ask for less."
            return Failure(Kind.UNREADABLE, TooLarge(told))
        return Reply(response.status_code, b"".join(body))

    async def _failure(self, response: httpx2.Response) -> Failure:
        status = response.status_code
        wait = seconds_asked(response.headers.get("retry-after", ""), datetime.now(UTC))
        later = "later" if wait is None else f"in {math.ceil(wait)} s"
        if status >= 500:  # AgentOS closes the connection after a 500 without saying so
            kind = {502: Kind.GATEWAY, 503: Kind.OVERLOADED, 504: Kind.GATEWAY}.get(status, Kind.FAILED)
            error_type = ServerFailed if kind is Kind.FAILED else Unavailable
            return Failure(kind, error_type(f"{self.system} failed (HTTP {status}). Try again {later}."), wait=wait)
        if status < 400:
            told = f"{self.system} answered with a redirect (HTTP {status}), which is not followed."
            return Failure(Kind.REDIRECTED, Redirected(f"{told} Set --backend to the address of {self.system} itself."))
        error = await self._explained(response)
        if status == 429:
            limited = RateLimited(f"{self.system} takes no more calls for now. Try again {later}.")
            return Failure(Kind.LIMITED, error or limited, wait=wait)
        unknown = (BadResponse, f"{{}} answered HTTP {status}, which is not foreseen. Check its version and address.")
        error_type, told = _REFUSALS.get(status, unknown)
        told = told.format(self.system, refusal=self.credential.refusal, credential=self.credential.name)
        return Failure(Kind.REFUSED, error or error_type(told))

    async def _explained(self, response: httpx2.Response) -> SessionsError | None:
        body: list[bytes] = []
        with anyio.move_on_after(_EXPLANATION_SECONDS), suppress(httpx2.TransportError):
            await _collect(response, body, _MOST_EXPLANATION)
        try:
            return self.explain(Reply(response.status_code, b"".join(body)), self.credential.name)
        except BadResponse:
            return None  # what is no JSON explains nothing


async def _collect(response: httpx2.Response, body: list[bytes], most_bytes: int) -> bool:
    """The raw body's first `most_bytes` into `body`; False if that isn't all."""
    left = most_bytes
    try:
        async for chunk in response.aiter_raw():
            body.append(chunk[: max(left, 0)])
            left -= len(chunk)
            if left < 0:
                await response.aclose()  # makes the next chunk an error, which ends all of httpx2's generators
    except httpx2.TransportError:
        if left >= 0:
            raise
    return left >= 0


def _is_compressed(response: httpx2.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count} bytes"
