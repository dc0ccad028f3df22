"""Sessions as opencode stores them, made of those of the contract suite."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import NewMessage

from ....contract.harness import Seed

_numbers = count(1)


@dataclass(frozen=True)
class SeededSession:
    """A session, and its messages with their parts, oldest first, in the form of the API's answers."""

    session: JsonObject
    messages: Sequence[JsonObject]


def seeded(seed: Seed) -> SeededSession:
    """Return a session of a seed, without the user, type and state, which opencode doesn't have."""
    moment = round((seed.moment or datetime.now(UTC)).timestamp() * 1000)
    session_id = f"ses_{next(_numbers):012x}seed"
    session: JsonObject = {
        "id": session_id,
        "slug": "seeded",
        "projectID": "global",
        "directory": seed.project or "/work/trip",
        "title": seed.name or default_title(moment),
        "version": "1.18.33",
        "time": {"created": moment, "updated": moment},
    }
    session |= {"agent": seed.agent_id} if seed.agent_id else {}
    session |= {"metadata": seed.metadata} if seed.metadata else {}
    if seed.archived:
        session["time"]["archived"] = moment
    return SeededSession(session, [*_messages(session_id, seed, moment)])


def default_title(moment: int) -> str:
    """Return the title of a new session without a name."""
    return (
        f"New session - {datetime.fromtimestamp(moment / 1000, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{moment % 1000:03}Z"
    )


def user_message(session_id: str, text: str, *, message_id: str, moment: int, agent: str = "build") -> JsonObject:
    """Return a message of the user."""
    info: JsonObject = {
        "id": message_id,
        "sessionID": session_id,
        "role": "user",
        "time": {"created": moment},
        "agent": agent,
        "model": {"providerID": "stub", "modelID": "stub-model"},
    }
    return {"info": info, "parts": [_part(info, {"type": "text", "text": text})]}


def _messages(session_id: str, seed: Seed, moment: int) -> Iterator[JsonObject]:
    for run in seed.runs:
        parent = ""
        for message, following in zip(run, [*run[1:], None], strict=True):
            if message.role not in ("user", "assistant"):
                continue
            info: JsonObject = {
                "id": f"msg_{next(_numbers):012x}seed",
                "sessionID": session_id,
                "role": message.role,
                "time": {"created": moment},
                "agent": seed.agent_id or "build",
            }
            if message.role == "user":
                parent = info["id"]
                info["model"] = {"providerID": "stub", "modelID": "stub-model"}
            else:
                info |= {"parentID": parent, "mode": "build", "cost": 0, "finish": "stop", **_OF_ASSISTANTS}
                info["time"]["completed"] = moment
            yield {"info": info, "parts": [_part(info, part) for part in _parts(message, following, moment)]}


_OF_ASSISTANTS: JsonObject = {
    "path": {"cwd": "/work/trip", "root": "/"},
    "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}},
    "providerID": "stub",
    "modelID": "stub-model",
}


def _part(info: JsonObject, content: JsonObject) -> JsonObject:
    ids = {"id": f"prt_{next(_numbers):012x}seed", "messageID": info["id"], "sessionID": info["sessionID"]}
    return ids | content


def _parts(message: NewMessage, following: NewMessage | None, moment: int) -> Iterator[JsonObject]:
    if message.text:
        yield {"type": "text", "text": message.text}
    for call in message.tool_calls:
        result = following.text if following and following.role == "tool" else ""
        state = {
            "status": "completed",
            "input": json.loads(call.arguments),
            "output": result,
            "title": call.name,
            "metadata": {},
            "time": {"start": moment, "end": moment},
        }
        yield {"type": "tool", "callID": call.id, "tool": call.name, "state": state}
    for attachment in message.attachments:
        yield {"type": "file", "mime": attachment.media_type, "url": attachment.url, "filename": "map.png"}
