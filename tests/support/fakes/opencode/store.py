"""What a fake opencode stores, and the changes that its routes make."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from copy import deepcopy
from itertools import count

from mcp_sessions.json_documents import Json, JsonObject, is_array, is_object

from .seeds import SeededSession, default_title, user_message

AGENTS = ("build", "plan", "general")
_MAX_SAFE_INTEGER = 2**53 - 1


class Refused(Exception):
    """An error of the API: its status and body."""

    def __init__(self, status: int, body: JsonObject) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def not_found(what: str) -> Refused:
    return Refused(404, {"name": "NotFoundError", "data": {"message": f"{what} not found"}})


def bad_request() -> Refused:
    return Refused(400, {"_tag": "BadRequest"})


def failed() -> Refused:
    return Refused(500, {"name": "UnknownError", "data": {"message": "Unexpected server error.", "ref": "err_1"}})


class Store:
    """The sessions and messages of all projects. `now` is the clock in seconds."""

    def __init__(self, now: Callable[[], float], *, keeps_metadata: bool, counts_events: bool) -> None:
        self._now = now
        self._keeps_metadata = keeps_metadata
        self._counts_events = counts_events
        self._applied: dict[str, list[str]] = {}
        self._numbers = count(1)
        self.sessions: dict[str, JsonObject] = {}
        self.messages: dict[str, list[JsonObject]] = {}
        self.running: list[str] = []
        """The sessions in which a turn runs, which a test sets."""

    def add(self, seed: SeededSession) -> str:
        session_id: str = seed.session["id"]
        self.sessions[session_id] = dict(seed.session)
        self.messages[session_id] = [dict(message) for message in seed.messages]
        return session_id

    def session(self, session_id: str) -> JsonObject:
        if not session_id.startswith("ses"):
            raise failed()
        if session_id not in self.sessions:
            raise not_found("Session")
        return self.sessions[session_id]

    def listed(self, query: Mapping[str, str]) -> tuple[list[JsonObject], str]:
        """Return a page of all sessions, and the cursor of the next one."""
        rows = sorted(self.sessions.values(), key=lambda row: (row["time"]["updated"], row["id"]), reverse=True)
        if "cursor" in query:
            rows = [row for row in rows if row["time"]["updated"] < int(query["cursor"])]
        if query.get("roots") == "true":
            rows = [row for row in rows if "parentID" not in row]
        if query.get("archived") != "true":
            rows = [row for row in rows if "archived" not in row["time"]]
        limit = int(query.get("limit", "100"))
        page = rows[:limit]
        shown = [row | {"project": {"id": "global", "worktree": "/"}} for row in page]
        return shown, str(page[-1]["time"]["updated"]) if len(rows) > limit else ""

    def statuses(self, directory: str) -> JsonObject:
        """Return the status of each session that runs in a folder. The others are left out."""
        running = [id for id in self.running if self.sessions[id]["directory"] == directory]
        return {session_id: {"type": "busy"} for session_id in running}

    def create(self, content: JsonObject) -> JsonObject:
        now = self._milliseconds()
        session: JsonObject = {
            "id": self._new_id("ses"),
            "slug": "new",
            "projectID": "global",
            "directory": "/work/trip",
            "title": content.get("title", default_title(now)),
            "version": "1.18.33",
            "time": {"created": now, "updated": now},
        }
        session |= {key: content[key] for key in ("parentID", "agent") if key in content}
        if self._keeps_metadata and "metadata" in content:
            session["metadata"] = _as_javascript(content["metadata"])
        self.sessions[session["id"]] = session
        self.messages[session["id"]] = []
        return session

    def update(self, session_id: str, content: JsonObject) -> JsonObject:
        """Set fields. A title or a time of archiving does not count as an update; null changes nothing."""
        session = self.session(session_id)
        title, metadata, archived = content.get("title"), content.get("metadata"), _archived_in(content)
        if title is not None and not isinstance(title, str):
            raise bad_request()
        if title is not None:
            session["title"] = title
        if archived is not None:
            session["time"]["archived"] = archived
        if metadata is not None and self._keeps_metadata:
            session["metadata"] = _as_javascript(metadata)
            session["time"]["updated"] = self._milliseconds()
        return session

    def delete(self, session_id: str) -> None:
        """Delete a session, the sessions that it started, and so on."""
        self.session(session_id)
        for child in self.children(session_id):
            self.delete(child["id"])
        del self.sessions[session_id], self.messages[session_id]
        self._applied.pop(session_id, None)

    def replay(self, events: list[JsonObject]) -> JsonObject:
        """Apply events, each of which has the next number. opencode 1.15 counts none: each has to be the first."""
        for event in events:
            applied = self._applied.setdefault(event["aggregateID"], [])
            if event["seq"] < len(applied):
                if applied[event["seq"]] != event["id"]:
                    raise failed()
                continue
            if event["seq"] > len(applied):
                raise failed()
            self._apply(event["type"], deepcopy(event["data"]))
            if self._counts_events:
                applied.append(event["id"])
        return {"sessionID": events[0]["aggregateID"]}

    def _apply(self, kind: str, data: JsonObject) -> None:
        session_id: str = data["sessionID"]
        if kind == "session.created.1":
            if session_id in self.sessions:
                raise failed()
            self.messages[session_id] = []
        if "info" in data and kind.startswith("session."):
            self.sessions[session_id] = data["info"]
        elif kind == "message.updated.1":
            if data["info"]["id"] not in {row["info"]["id"] for row in self.messages[session_id]}:
                self.messages[session_id].append({"info": data["info"], "parts": []})
        elif kind == "message.part.updated.1":
            parts = self.message(session_id, data["part"]["messageID"])["parts"]
            parts[:] = [*(part for part in parts if part["id"] != data["part"]["id"]), data["part"]]

    def children(self, session_id: str) -> list[JsonObject]:
        self.session(session_id)
        return [row for row in self.sessions.values() if row.get("parentID") == session_id]

    def message_page(self, session_id: str, query: Mapping[str, str]) -> tuple[list[JsonObject], str]:
        """Return the newest messages before a cursor, oldest first, and the cursor of those before."""
        self.session(session_id)
        rows = self.messages[session_id]
        if "before" in query:
            before = _read_cursor(query["before"])
            rows = [row for row in rows if _place(row) < before]
        limit = int(query.get("limit", "0"))
        page = rows[-limit:] if limit else rows
        return page, _cursor(page[0]) if len(rows) > len(page) else ""

    def message(self, session_id: str, message_id: str) -> JsonObject:
        self.session(session_id)
        if not message_id.startswith("msg"):
            raise bad_request()
        found = next((row for row in self.messages[session_id] if row["info"]["id"] == message_id), None)
        if found is None:
            raise not_found("Message")
        return found

    def append(self, session_id: str, content: JsonObject) -> JsonObject:
        session = self.session(session_id)
        agent = content.get("agent", "build")
        if not content.get("noReply"):
            raise AssertionError("this request would start a run")
        if agent not in AGENTS:
            raise failed()
        now = self._milliseconds()
        text = content["parts"][0]["text"]
        message = user_message(session_id, text, message_id=self._new_id("msg"), moment=now, agent=agent)
        self.messages[session_id].append(message)
        session["agent"] = agent
        session["time"]["updated"] = now
        return message

    def delete_message(self, session_id: str, message_id: str) -> None:
        self.messages[session_id].remove(self.message(session_id, message_id))

    def fork(self, session_id: str, message_id: str) -> JsonObject:
        """Copy a session without a message and those after it; of an unknown message, copy all."""
        source = self.session(session_id)
        content: JsonObject = {"title": f"{source['title']} (fork #1)"}
        fork = self.create(content | ({"metadata": source["metadata"]} if "metadata" in source else {}))
        for row in self.messages[session_id]:
            if row["info"]["id"] == message_id:
                break
            self.messages[fork["id"]].append(_with_ids(row, fork["id"], self._new_id))
        old = [row["info"]["id"] for row in self.messages[session_id]]
        new = {before: row["info"]["id"] for before, row in zip(old, self.messages[fork["id"]], strict=False)}
        for row in self.messages[fork["id"]]:
            if "parentID" in row["info"]:
                row["info"]["parentID"] = new[row["info"]["parentID"]]
        return fork

    def _milliseconds(self) -> int:
        return round(self._now() * 1000)

    def _new_id(self, kind: str) -> str:
        return f"{kind}_f{next(self._numbers):011x}made"


def _with_ids(row: JsonObject, session_id: str, new_id: Callable[[str], str]) -> JsonObject:
    copy = deepcopy(row)
    copy["info"] |= {"id": new_id("msg"), "sessionID": session_id}
    for part in copy["parts"]:
        part |= {"id": new_id("prt"), "messageID": copy["info"]["id"], "sessionID": session_id}
    return copy


def _archived_in(content: JsonObject) -> int | None:
    times = content.get("time")
    return times.get("archived") if is_object(times) else None


def _as_javascript(value: Json) -> Json:
    """Return JSON as JavaScript keeps it: whole numbers beyond 2^53 are rounded."""
    if is_object(value):
        return {key: _as_javascript(item) for key, item in value.items()}
    if is_array(value):
        return [_as_javascript(item) for item in value]
    is_large = isinstance(value, int) and abs(value) > _MAX_SAFE_INTEGER
    return int(float(value)) if is_large else value


def _place(row: JsonObject) -> tuple[int, str]:
    return row["info"]["time"]["created"], row["info"]["id"]


def _cursor(row: JsonObject) -> str:
    time, id = _place(row)
    return urlsafe_b64encode(json.dumps({"id": id, "time": time}).encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[int, str]:
    try:
        read = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return read["time"], read["id"]
    except (ValueError, KeyError, TypeError):
        raise bad_request() from None
