"""A fake opencode server in this process: its routes, password, requests and faults."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mcp_sessions.json_documents import Json, JsonObject

from ..http import Request, Response, Server
from .seeds import SeededSession
from .store import Refused, Store

_WEB_APP = Response(200, b"<!doctype html>\n<html></html>", {"content-type": "text/html"})
"""The answer to every request that has no route."""


@dataclass
class Fault:
    """What happens to a request with this method and end of the path, before or `after` its effect.

    The first `skips` of these requests are answered as usual.
    """

    response: Response
    method: str = ""
    path: str = ""
    after: bool = False
    skips: int = 0

    def befalls(self, request: Request) -> bool:
        if self.method not in ("", request.method) or not request.path.endswith(self.path):
            return False
        self.skips -= 1
        return self.skips < 0


class FakeOpencode:
    """Enter it with `async with`. `requests` are all that it received.

    `version` before 1.15: metadata is ignored, and the deletion of an unknown session is confirmed.
    """

    def __init__(self, *, password: str = "", version: str = "1.18.33") -> None:
        self.now = time.time
        """The clock in seconds, which a test may set."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.origin = ""
        self.changed = asyncio.Event()
        """Set by each change, for tests that wait for one."""
        self.version = version
        self._is_old = version.startswith(("1.1.", "1.2."))
        self.store = Store(lambda: self.now(), keeps_metadata=not self._is_old, counts_events=version >= "1.18")
        self._authorization = f"Basic {b64encode(f'opencode:{password}'.encode()).decode()}" if password else ""
        self._server = Server(self._respond)

    async def __aenter__(self) -> Self:
        self.origin = f"http://127.0.0.1:{await self._server.start()}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop()

    def add(self, *seeds: SeededSession) -> list[str]:
        return [self.store.add(seed) for seed in seeds]

    @property
    def changes(self) -> list[Request]:
        """The requests that may change something."""
        return [request for request in self.requests if request.method != "GET"]

    async def _respond(self, request: Request) -> Response:
        self.requests.append(request)
        if self._authorization and request.headers.get("authorization") != self._authorization:
            return Response(401, b"", {"www-authenticate": "Basic"})
        fault = next((fault for fault in self.faults if fault.befalls(request)), None)
        if fault is None:
            return self._answer(request)
        self.faults.remove(fault)
        if fault.after:
            self._answer(request)
        return fault.response

    def _answer(self, request: Request) -> Response:
        try:
            return self._route(request)
        except Refused as refusal:
            return _json(refusal.body, status=refusal.status)
        finally:
            if request.method != "GET":
                self.changed.set()

    def _route(self, request: Request) -> Response:
        query = {name: values[-1] for name, values in request.query.items()}
        content: JsonObject = request.json or {}
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["global", "health"]:
                return _json({"healthy": True, "version": self.version})
            case "GET", ["experimental", "session"]:
                return _page(*self.store.listed(query))
            case "GET", ["session", "status"]:
                return _json(self.store.statuses(query.get("directory", "/work/trip")))
            case "POST", ["session"]:
                return _json(self.store.create(content))
            case "POST", ["sync", "replay"] if not self._is_old:
                return _json(self.store.replay(content["events"]))
            case method, ["session", session_id, *rest]:
                found = self._of_session(method, session_id, rest)
                return _WEB_APP if found is None else found(query, content)
            case _:
                return _WEB_APP

    def _of_session(
        self, method: str, session_id: str, rest: list[str]
    ) -> Callable[[dict[str, str], JsonObject], Response] | None:
        """Return the function that answers a request about a session, given its query and content."""
        store = self.store
        match method, rest:
            case "GET", []:
                return lambda query, content: _json(store.session(session_id))
            case "PATCH", []:
                return lambda query, content: _json(store.update(session_id, content))
            case "DELETE", []:
                return lambda query, content: self._delete(session_id)
            case "GET", ["children"]:
                return lambda query, content: _json(store.children(session_id))
            case "GET", ["message"]:
                return lambda query, content: _page(*store.message_page(session_id, query))
            case "POST", ["message"]:
                return lambda query, content: _json(store.append(session_id, content))
            case "GET", ["message", message_id]:
                return lambda query, content: _json(store.message(session_id, message_id))
            case "DELETE", ["message", message_id]:
                return lambda query, content: self._delete_message(session_id, message_id)
            case "POST", ["fork"]:
                return lambda query, content: _json(store.fork(session_id, content.get("messageID", "")))
            case _:
                return None

    def _delete(self, session_id: str) -> Response:
        if not (self._is_old and session_id not in self.store.sessions):
            self.store.delete(session_id)
        return _json(True)

    def _delete_message(self, session_id: str, message_id: str) -> Response:
        self.store.delete_message(session_id, message_id)
        return _json(True)


def _json(body: Json, *, status: int = 200) -> Response:
    return Response(status, json.dumps(body).encode())


def _page(rows: list[JsonObject], cursor: str) -> Response:
    return Response(200, json.dumps(rows).encode(), {"x-next-cursor": cursor} if cursor else {})
