"""Faults of the responses of Guayaba, or of a proxy in front of it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

from mcp_sessions.json_documents import Json

from ..http import Request, Response
from .schema import Refused

Kind = Literal["answer", "drop", "cut", "truncated", "hold", "stall", "garbage", "late"]
_HTML = b"<html><head><title>Error</title></head><body><h1>Error</h1></body></html>"


@dataclass(eq=False)
class Fault:
    """What befalls the next `times` requests with this method, this end of the path, and this agent.

    answer: this status, headers and body instead (None: an error as documented), before or `after` the change.
    drop: the connection closes without an answer, before or `after` the change.
    cut: it closes in the middle of the answer. truncated: the answer says that it is whole, and is half.
    hold: it waits until `released` is set, before or `after` the change: a slow start, or a change that takes effect
    after its client has gone. stall: so does the second half of the answer. Who waits for `entered` knows that the
    request has come.
    garbage: what is no HTTP, after the change.
    late: the connection closes without an answer, and the change takes effect when `later` more requests have come.
    """

    kind: Kind
    after: bool = False
    method: str = ""
    path: str = ""
    agent_id: str = ""
    times: int = 1
    status: int = 503
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    later: int = 2
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def befalls(self, request: Request) -> bool:
        path = request.target.partition("?")[0]
        return (
            request.method == (self.method or request.method)
            and path.endswith(self.path)
            and f"/{self.agent_id}" in path
        )

    @property
    def comes_after(self) -> bool:
        """Whether the change takes effect before the fault."""
        return self.after or self.kind in ("cut", "truncated", "stall", "garbage")

    def instead(self) -> Response:
        body = self.body
        if body is None and self.status >= 400:
            body = json.dumps(Refused(self.status, "Something went wrong.").body).encode()
        return Response(self.status, body or b"", self.headers)

    def spoiled(self, response: Response) -> Response:
        """Return the response as it is sent."""
        body, status = response.body or b'{"success": true}', 200 if response.status == 204 else response.status
        match self.kind:
            case "cut":
                return Response(status, body, response.headers, sent="half")
            case "truncated":
                return Response(status, body[: len(body) // 2], response.headers)
            case "stall":
                return Response(status, body, response.headers, pause=self.released)
            case "garbage":
                return Response(200, b"\x16\x03\x01\x02\0\x01\0\xfc SSH-2.0-OpenSSH_9.6\r\n\r\n", sent="raw")
            case _:
                return response


def html_page(status: int, *, after: bool = False) -> Fault:
    """Return the error page of a proxy."""
    return Fault("answer", status=status, body=_HTML, headers={"content-type": "text/html"}, after=after)


def shaped(body: Json) -> Fault:
    """Return a successful response with an unexpected content."""
    return Fault("answer", status=200, body=json.dumps(body).encode())


def redirected(location: str, *, status: int = 302) -> Fault:
    return Fault("answer", status=status, body=b"", headers={"location": location})


def limited(seconds: int | None = None, *, as_date: bool = False, times: int = 1) -> Fault:
    """Return a 429 with `Retry-After` in seconds, as a date, or without it."""
    if seconds is None:
        return Fault("answer", status=429, times=times)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return Fault("answer", status=429, times=times, headers={"retry-after": date if as_date else str(seconds)})
