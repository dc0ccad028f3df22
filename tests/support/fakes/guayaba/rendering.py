"""Renders agents, sessions, archives and messages as Guayaba does, in one reading of its documents."""

from collections.abc import Sequence
from datetime import timedelta, timezone
from itertools import islice
from random import Random

from mcp_sessions.json_documents import Json, JsonObject

from .readings import Reading
from .store import Agent, Archive, Session, file_time

_DOCUMENTED = ("id", "role", "content", "timestamp")
_SHAPES: Sequence[Json] = (
    {"success": True},
    None,
    [],
    "Session renamed",
    {"data": {"key": "agent:main:other", "label": "of another session"}},
    {"ok": True, "key": "agent:main:other", "archived": []},
    0,
    [{"key": "agent:main:other"}],
)
_MIXED = ("offset", "filename", "absent")


class Rendering:
    """Whether lists are in another order each time."""

    def __init__(self, reading: Reading, random: Random) -> None:
        self._reading = reading
        self._random = random
        self._answered = 0

    def agent(self, agent: Agent) -> JsonObject:
        return {"id": agent.id, "name": agent.name, "status": agent.status, "framework": "openclaw"}

    def one_agent(self, agent: Agent) -> JsonObject:
        shown = self.agent(agent)
        return {"data": shown} if self._reading.agent_answer == "data" else shown

    def agents(self, agents: Sequence[Agent], per_page: int, page: int) -> JsonObject:
        per_page = min(per_page, self._reading.most_agents)
        first = (page - 1) * per_page
        return {
            "data": [self.agent(agent) for agent in islice(agents, first, first + per_page)],
            "current_page": page,
            "last_page": max(1, -(-len(agents) // per_page)),
            "per_page": per_page,
            "total": len(agents),
        }

    def sessions(self, sessions: Sequence[Session]) -> list[Json]:
        return self._shuffled([self._labelled(session.row) for session in sessions])

    def archives(self, archives: Sequence[Archive]) -> list[Json]:
        return self._shuffled([self._archive(archive, place) for place, archive in enumerate(archives)])

    def wrapped_archives(self, archives: list[Json]) -> Json:
        return archives if self._reading.archives_shape == "array" else {self._reading.archives_shape: archives}

    def messages(self, session: Session | None, limit: int | None) -> list[Json]:
        """Return the newest messages."""
        newest = session.messages[-(limit or self._reading.default_limit) :] if session else []
        shown = [self._message(message) for message in newest]
        return shown[::-1] if self._reading.history_order == "newest_first" else shown

    def wrapped_messages(self, messages: list[Json]) -> Json:
        return messages if self._reading.history_shape == "array" else {self._reading.history_shape: messages}

    def changed(self) -> tuple[int, Json, bool]:
        """Return the status of a change's response, its body, and whether there is one."""
        self._answered += 1
        match self._reading.change_answer:
            case "empty":
                return 200, None, False
            case "no_content":
                return 204, None, False
            case "any_json":
                return 200 + self._answered % 2, _SHAPES[self._answered % len(_SHAPES)], True

    def _shuffled(self, rows: list[Json]) -> list[Json]:
        self._random.shuffle(rows)
        return rows

    def _labelled(self, row: JsonObject) -> JsonObject:
        leaves_out = self._reading.absent_as == "missing" and row.get("label", "") is None
        return {name: value for name, value in row.items() if not (leaves_out and name == "label")}

    def _archive(self, archive: Archive, place: int) -> JsonObject:
        row: JsonObject = {"filename": archive.filename, "label": archive.label}
        form = self._reading.archived_at
        match _MIXED[place % len(_MIXED)] if form == "mixed" else form:
            case "Z":
                row["archivedAt"] = archive.moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            case "offset":
                row["archivedAt"] = archive.moment.astimezone(timezone(timedelta(hours=2))).isoformat()
            case "filename":
                row["archivedAt"] = file_time(archive.moment)
            case "epoch":
                row["archivedAt"] = str(round(archive.moment.timestamp() * 1000))
            case _:
                pass
        if self._reading.archive_has_session_id and "sessionId" in archive.session.row:
            row["sessionId"] = archive.session.row["sessionId"]
        return self._labelled(row)

    def _message(self, message: JsonObject) -> JsonObject:
        shown: JsonObject = dict(message)
        if self._reading.message_fields == "documented":
            if "toolCallId" in message:
                result = {"type": "toolResult", "toolCallId": message["toolCallId"], "content": message.get("content")}
                shown["content"] = [result]
            shown = {name: shown[name] for name in _DOCUMENTED if name in shown}
        if not self._reading.message_ids:
            shown.pop("id", None)
        if self._reading.message_seconds and "timestamp" in shown:
            shown["timestamp"] //= 1000
        return shown
