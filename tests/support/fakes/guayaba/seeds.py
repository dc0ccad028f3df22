"""Sessions and messages of Guayaba and OpenClaw for tests to begin with."""

from collections.abc import Mapping, Sequence

from mcp_sessions.json_documents import JsonObject

from .fake import FakeGuayaba
from .store import MAIN, Agent, Session, file_of

SECRETS = ("+14155550123", "+4915112345678", "ann@example.org", "1234567890@s.whatsapp.net", "/home/node")
"""Secrets in `origin` and `sessionFile` of the rows of `seed_usual`, which no result may contain."""


def row(key: str, session_id: str, **fields: object) -> JsonObject:
    """Return a row with every documented field, or with these instead."""
    whole: JsonObject = {
        "key": key,
        "sessionId": session_id,
        "sessionFile": file_of(session_id),
        "label": None,
        "updatedAt": 1_714_564_800_000,
        "chatType": "direct",
        "lastChannel": "webchat",
        "origin": {
            "label": f"Ann {SECRETS[0]}",
            "provider": "whatsapp",
            "surface": "whatsapp",
            "from": f"whatsapp:{SECRETS[0]}",
            "to": SECRETS[1],
            "accountId": SECRETS[3],
            "email": SECRETS[2],
        },
    }
    return whole | fields


def user(text: str | Sequence[Mapping[str, object]], **fields: object) -> JsonObject:
    return {"role": "user", "content": text if isinstance(text, str) else list(text), **fields}


def assistant(*blocks: Mapping[str, object], **fields: object) -> JsonObject:
    """Return content blocks, with the fields that OpenClaw adds."""
    own: JsonObject = {"api": "openai-responses", "provider": "openai", "model": "gpt-5", "stopReason": "stop"}
    usage: JsonObject = {"input": 10, "output": 5, "totalTokens": 15}
    return {"role": "assistant", "content": [*blocks], "usage": usage, **own, **fields}


def tool_result(call_id: str, name: str, said: str, **fields: object) -> JsonObject:
    own: JsonObject = {"toolCallId": call_id, "toolName": name, "isError": False}
    return {"role": "toolResult", "content": [text(said)], **own, **fields}


def text(said: str) -> JsonObject:
    return {"type": "text", "text": said}


def thinking(thought: str) -> JsonObject:
    return {"type": "thinking", "thinking": thought, "thinkingSignature": "c2lnbmF0dXJl"}


def tool_call(call_id: str, name: str, arguments: JsonObject) -> JsonObject:
    return {"type": "toolCall", "id": call_id, "name": name, "arguments": arguments}


def image(data: str = "iVBORw0KGgo=", media_type: str = "image/png") -> JsonObject:
    return {"type": "image", "data": data, "mimeType": media_type}


def linked_image(url: str, media_type: str = "image/png") -> JsonObject:
    return {"type": "image", "url": url, "mimeType": media_type}


def odd_messages() -> list[JsonObject]:
    """Return a message of every form, oldest first."""
    return [
        user("What is the weather in Rome?", id="m-1", timestamp=1_714_564_700_000),
        assistant(thinking("It is about Rome."), tool_call("c1", "get_weather", {"city": "Rome"}), id="m-2"),
        tool_result("c1", "get_weather", "22 degrees", id="m-3", timestamp=1_714_564_702_000),
        assistant(text("It is 22 degrees"), text(" in Rome."), id="m-4", timestamp=1_714_564_703_000),
        user([text("And here?"), image()], id="m-5"),
        {"role": "system", "content": "Compacted", "timestamp": 0},
        {"role": "bashExecution", "content": [{"type": "hologram", "depth": {"of": [1, None]}}], "id": "m-7"},
        {"role": "assistant", "content": [], "id": "m-8"},
        {"role": "assistant", "content": "", "id": "m-9"},
        {"role": "user", "id": "m-10"},
        {"content": "Nobody said this"},
        {},
        {"role": "user", "content": "half of \ud83d a pair, \0, \x1b[31mred", "id": "m-5", "timestamp": -1},
        {"role": "assistant", "content": [{"type": "text"}, {}, {"type": "text", "text": None}], "timestamp": 2**53},
        {"role": "custom", "content": [{"type": "toolResult", "toolCallId": "c9", "content": "of no call"}]},
        assistant(text("long " * 40_000), id="m-15"),
    ]


def seed_usual(fake: FakeGuayaba, agent: Agent) -> list[Session]:
    """Add the sessions of an agent in use: its main session, channels, and rows that lack fields."""
    now = round(fake.now() * 1000)

    def add(key: str, messages: Sequence[Mapping[str, object]] = (), **fields: object) -> Session:
        return fake.add_session(agent, row(key, fake.new_id(), **fields), messages)

    return [
        add(MAIN, odd_messages(), label="Main", updatedAt=now - 1000),
        add("agent:main:whatsapp:direct:+491700000000", lastChannel="whatsapp", updatedAt=now - 2000),
        add("agent:main:telegram:group:-100123:topic:7", chatType="group", lastChannel="telegram", label="Group"),
        add("agent:main:api:Ünïcode key/with ?#%20 all", label="100% sure"),
        add("agent:main:cron:nightly", updatedAt=0),
        add("agent:main:subagent:0001", updatedAt=now + 86_400_000, label="From the future"),
        fake.add_session(agent, {"key": "agent:main:ghost", "label": "Ghost"}),
        fake.add_session(agent, {"sessionId": fake.new_id(), "label": "Without a key"}),
        fake.add_session(agent, {}),
    ]
