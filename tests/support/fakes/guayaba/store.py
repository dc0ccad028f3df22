"""The agents of Guayaba with their sessions and archives, and the effect of each change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

from mcp_sessions.json_documents import JsonObject

from .readings import Reading
from .schema import Asked, Refused

MAIN = "agent:main:main"
_FILES = "/data/agents/main/sessions"


@dataclass(eq=False)
class Session:
    """A session. `row` is its list item, `messages` its transcript, oldest first, with OpenClaw's fields."""

    row: JsonObject
    messages: list[JsonObject] = field(default_factory=list[JsonObject])

    @property
    def key(self) -> str:
        return self.row.get("key", "")


@dataclass(eq=False)
class Archive:
    filename: str
    label: str | None
    session: Session
    moment: datetime


@dataclass(eq=False)
class Agent:
    """An agent in its container. OpenClaw calls the agent of every container `main`."""

    id: str
    name: str
    owner: str
    status: str = "running"
    sessions: list[Session] = field(default_factory=list[Session])
    archives: list[Archive] = field(default_factory=list[Archive])

    @property
    def runs(self) -> bool:
        return self.status in ("active", "running")

    def find(self, key: str) -> Session | None:
        return next((session for session in self.sessions if session.key == key), None)


class Applied(NamedTuple):
    """A change that took effect."""

    operation: str
    agent_id: str
    key: str


class Store:
    """Changes the sessions of agents. Raises `Refused`."""

    def __init__(self, reading: Reading, random: Random, now: Callable[[], float]) -> None:
        self.applied: list[Applied] = []
        self._reading = reading
        self._random = random
        self._now = now

    def new_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def milliseconds(self) -> int:
        return round(self._now() * 1000)

    def session(self, agent: Agent, key: str) -> Session | None:
        """Return the session that a request addresses."""
        found = agent.find(key)
        if found is None and self._reading.short_keys and not key.startswith("agent:"):
            found = agent.find(f"agent:main:{key}")
        if found is None and self._reading.unknown_key == "not_found":
            raise Refused(404, "Session not found")
        return found

    def rename(self, agent: Agent, asked: Asked) -> None:
        if not asked.has_label and self._reading.absent_label == "refused":
            raise Refused(422, "The label field is required.")
        session = self.session(agent, asked.key)
        if session is None:
            session = self._ghost(asked.key)
        if not asked.has_label and self._reading.absent_label == "keeps":
            return
        self._refuse_duplicate(agent, session, asked.label)
        if session not in agent.sessions:
            agent.sessions.append(session)
        session.row["label"] = asked.label
        if self._reading.rename_touches:
            session.row["updatedAt"] = self.milliseconds()
        self._log("sessions/rename", agent, session.key)

    def _ghost(self, key: str) -> Session:
        key = key if key.startswith("agent:") else f"agent:main:{key}"
        return Session({"key": key, "sessionId": self.new_id(), "updatedAt": self.milliseconds()})

    def _refuse_duplicate(self, agent: Agent, session: Session, label: str | None) -> None:
        others = (other for other in agent.sessions if other is not session)
        if not self._reading.duplicate_labels and label and any(other.row.get("label") == label for other in others):
            raise Refused(409, "The label is already in use.")

    def archive(self, agent: Agent, asked: Asked) -> None:
        session = self._to_remove(agent, asked.key)
        if session is not None:
            self._remove(agent, session, anew=self._reading.archive_resets)
            self.put_away(agent, session, "reset")
            self._log("sessions/archive", agent, session.key)

    def delete(self, agent: Agent, asked: Asked) -> None:
        session = self._to_remove(agent, asked.key)
        if session is not None:
            self._remove(agent, session, anew=False)
            if self._reading.deleted_are_archived:
                self.put_away(agent, session, "deleted")
            self._log("sessions/delete", agent, session.key)

    def _to_remove(self, agent: Agent, key: str) -> Session | None:
        session = self.session(agent, key)
        if session is not None and session.key == MAIN and self._reading.main_when_removed == "refused":
            raise Refused(422, "The main session cannot be removed.")
        return session

    def _remove(self, agent: Agent, session: Session, *, anew: bool) -> None:
        agent.sessions.remove(session)
        if anew or (session.key == MAIN and self._reading.main_when_removed == "anew"):
            agent.sessions.append(self._ghost(session.key))

    def put_away(self, agent: Agent, session: Session, reason: str, moment: datetime | None = None) -> Archive:
        """Add the session to the agent's archives, archived at this time or now."""
        moment = moment or datetime.fromtimestamp(self._now(), UTC)
        label = session.row.get("label") if self._reading.archive_keeps_label else None
        while any(archive.filename == self._filename(session, reason, moment) for archive in agent.archives):
            moment += timedelta(milliseconds=1)
        archive = Archive(self._filename(session, reason, moment), label, session, moment)
        agent.archives.append(archive)
        return archive

    def _filename(self, session: Session, reason: str, moment: datetime) -> str:
        session_id: str = session.row.get("sessionId") or self.new_id()
        match self._reading.filenames:
            case "plain":
                return f"{session_id}.jsonl.{reason}.{file_time(moment)}"
            case "full":
                return f"{session_id}-topic-7.jsonl.{reason}.{file_time(moment)}.{session_id[:8]}.zst"
            case "opaque":
                return f"Été {session_id[:8]}+{round(moment.timestamp() * 1000)} (1)%2e.bak"

    def unarchive(self, agent: Agent, asked: Asked) -> None:
        archive = self._archive(agent, asked.key)
        if archive is None:
            return
        session = archive.session
        label = asked.label if asked.label is not None else archive.label if self._reading.restore_keeps_label else None
        self._refuse_duplicate(agent, session, label)
        row: JsonObject = session.row | {"label": label}
        if self._reading.restored_key == "new" or not row.get("key") or agent.find(session.key) is not None:
            row["key"] = f"agent:main:dashboard:{self.new_id()}"
        if not self._reading.restore_keeps_session_id:
            row["sessionId"] = self.new_id()
        if self._reading.restore_touches:
            row["updatedAt"] = self.milliseconds()
        agent.archives.remove(archive)
        agent.sessions.append(Session(row, session.messages))
        self._log("archives/restore", agent, archive.filename)

    def delete_archive(self, agent: Agent, asked: Asked) -> None:
        archive = self._archive(agent, asked.key)
        if archive is not None:
            agent.archives.remove(archive)
            self._log("archives/delete", agent, archive.filename)

    def _archive(self, agent: Agent, filename: str) -> Archive | None:
        if "/" in filename or "\\" in filename or filename in (".", "..") or "\0" in filename:
            raise Refused(self._reading.traversal, "The filename is not valid.")
        found = next((archive for archive in agent.archives if archive.filename == filename), None)
        if found is None and self._reading.unknown_key == "not_found":
            raise Refused(404, "Archive not found")
        return found

    def _log(self, operation: str, agent: Agent, key: str) -> None:
        self.applied.append(Applied(operation, agent.id, key))


def file_time(moment: datetime) -> str:
    """Return a time without colons, as in OpenClaw's file names."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(":", "-")


def file_of(session_id: str) -> str:
    return f"{_FILES}/{session_id}.jsonl"
