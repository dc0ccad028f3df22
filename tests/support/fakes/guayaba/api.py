"""The ten routes of Guayaba that deal with agents, sessions and archives."""

import json
from collections.abc import Callable, Mapping
from random import Random

from mcp_sessions.json_documents import Json

from ..http import Request, Response
from .access import OWNER, Access, Key
from .readings import Reading
from .rendering import Rendering
from .schema import Asked, Refused, asked, problems_of
from .store import Agent, Store

_ROOT = "/api/v1/"
_MANAGE, _READ = "agent:manage", "agent:read"
_Change = Callable[[Store, Agent, Asked], None]
_CHANGES: Mapping[str, _Change] = {
    "sessions/rename": Store.rename,
    "sessions/archive": Store.archive,
    "sessions/delete": Store.delete,
    "archives/restore": Store.unarchive,
    "archives/delete": Store.delete_archive,
}
_METHODS: Mapping[str, str] = {
    "sessions": "GET",
    "archives": "GET",
    "sessions/history": "POST",
    **dict.fromkeys(_CHANGES, "POST"),
}


def is_change(request: Request) -> bool:
    """Return whether the route is one of the five that change something."""
    return request.method == "POST" and "/".join(request.target.split("/")[-2:]) in _CHANGES


class Api:
    """Answers requests. `problems` has answers that break the schemas: there must be none."""

    def __init__(self, reading: Reading, access: Access, store: Store, random: Random) -> None:
        self.problems: list[str] = []
        self._reading = reading
        self._access = access
        self._store = store
        self._rendering = Rendering(reading, random)

    def answer(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except Refused as refused:
            takes_json = "json" in request.headers.get("accept", "")
            if self._reading.html_to_browsers and not takes_json:
                return page(refused)
            return _json(refused.status, refused.body)

    def _answer(self, request: Request) -> Response:
        key = self._access.key(request.headers.get("authorization", ""))
        path, _, query = request.target.partition("?")
        if not path.startswith(f"{_ROOT}agents"):
            raise Refused(404, "The route could not be found.")
        agent_id, _, operation = path.removeprefix(f"{_ROOT}agents").removeprefix("/").partition("/")
        if not agent_id:
            return self._agents(request)
        if query:  # Laravel ignores it; nobody should rely on that
            raise Refused(422, "The query is not known.")
        if not operation:
            _require("GET", request)
            return _json(200, self._rendering.one_agent(self._access.agent(key, agent_id, _READ)))
        if operation not in _METHODS:
            raise Refused(404, "The route could not be found.")
        _require(_METHODS[operation], request)
        return self._of_agent(request, key, agent_id, operation)

    def _agents(self, request: Request) -> Response:
        _require("GET", request)
        for name, values in request.query.items():
            if name not in ("per_page", "page") or not (values[0].isascii() and values[0].isdigit()):
                raise Refused(422, f"The {name} field must be an integer.")
        per_page, page = (int(request.query.get(name, [default])[0]) for name, default in _PAGE)
        if not 1 <= per_page <= 100 or page < 1:
            raise Refused(422, "The per_page field must be between 1 and 100.")
        own = [agent for agent in self._access.agents if agent.owner == OWNER]
        return _json(200, self._rendering.agents(own, per_page, page))

    def _of_agent(self, request: Request, key: Key, agent_id: str, operation: str) -> Response:
        agent = self._access.agent(key, agent_id, _MANAGE)
        if not self._reading.body_first:
            _require_running(agent)
        body = self._asked(request, operation) if request.method == "POST" else Asked("")
        _require_running(agent)
        match operation:
            case "sessions":
                return _json(200, self._checked(operation, self._rendering.sessions(agent.sessions)))
            case "archives":
                archives = self._checked(operation, self._rendering.archives(agent.archives))
                return _json(200, self._rendering.wrapped_archives(archives))
            case "sessions/history":
                session = self._store.session(agent, body.key)
                messages = self._checked(operation, self._rendering.messages(session, body.limit))
                return _json(200, self._rendering.wrapped_messages(messages))
            case _:
                _CHANGES[operation](self._store, agent, body)
                status, answer, has_body = self._rendering.changed()
                return _json(status, answer) if has_body else Response(status, b"", {"content-type": "text/html"})

    def _asked(self, request: Request, operation: str) -> Asked:
        return asked(operation, request.body, request.headers.get("content-type", ""), self._reading)

    def _checked(self, operation: str, items: list[Json]) -> list[Json]:
        self.problems += problems_of(operation, items)
        return items


_PAGE = (("per_page", "15"), ("page", "1"))


def _require(method: str, request: Request) -> None:
    if request.method != method:
        raise Refused(405, f"The {request.method} method is not supported for this route.")


def _require_running(agent: Agent) -> None:
    if not agent.runs:
        raise Refused(503, "The agent container is not running")


def page(refused: Refused) -> Response:
    """Return the page that a browser gets."""
    body = f"<!DOCTYPE html><html><title>{refused.body['error']}</title><p>{refused.message}</p></html>".encode()
    html = {"content-type": "text/html; charset=UTF-8"}
    if refused.status == 422:
        return Response(302, body, {**html, "location": "/"})
    return Response(refused.status, body, html)


def _json(status: int, body: Json) -> Response:
    return Response(status, json.dumps(body).encode())
