"""Frames of clients with some of their bytes or members changed, and what each must be answered with."""

import json
import os
import random
import re
from typing import Any

from .stdio_client import Frame, call, initialize, modern, notification, request

FRAMES = int(os.environ.get("FRAMES", "10000"))
DEEP = b"[" * 300 + b"]" * 300

SEEDS: list[Frame] = [
    call("s", "look", text="naïve 🙂"),
    call("s", "look"),
    request("s", "tools/list"),
    request("s", "ping"),
    initialize("s"),
    modern("s", "server/discover"),
    modern("s", "tools/call", name="look", arguments={"text": "a"}),
    notification("notifications/cancelled", requestId="none", reason="r"),
    {"jsonrpc": "2.0", "id": "s", "result": {"content": {}}},
    {"jsonrpc": "2.0", "id": "s", "error": {"code": 1, "message": "m"}},
]
ODD: list[Any] = [None, True, 1.5, -1, "", "x", "\ud800", [], [1], {}, {"a": 1}, 10**30, json.loads(DEEP)]
SPLICES = [*(b"null true 1e9 {} [] , : \\ \\ud800 \xff \x00".split(b" ")), b'"', b"\r", DEEP]


def mutated(number: int, chance: random.Random) -> bytes:
    seed = chance.choice(SEEDS)
    frame: Frame = {**seed, "id": str(number)} if "id" in seed else {**seed}
    if chance.random() < 0.6:
        parent = {**frame.get("params", {})} if chance.random() < 0.3 else frame
        if parent is not frame:
            frame["params"] = parent
        parent[chance.choice([*frame, "extra"])] = chance.choice(ODD)
        if chance.random() < 0.3:
            del frame[chance.choice([*frame])]
        return json.dumps(frame).encode()
    line = bytearray(json.dumps(frame, ensure_ascii=chance.random() < 0.5).encode())
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(line) + 1)
        end = min(len(line), start + chance.choice([0, 1, 1, 4, 20]))
        noise = bytes(chance.randrange(256) for _ in range(end - start))
        line[start:end] = chance.choice([b"", noise, 2 * line[start:end], chance.choice(SPLICES)])
    return bytes(line).replace(b"\n", b" ")


def expected(line: bytes) -> tuple[str, ...]:
    """Return the ids that responses to the line must have, as JSON. Written from the protocol, not from our code."""
    if not line.strip():
        return ()
    text = line.decode(errors="replace").strip()
    try:
        frame: dict[str, Any] = json.loads(text)
    except ValueError:
        return ("null",)
    if not text.startswith("{"):
        return ("null",)
    is_sound = frame.get("jsonrpc") == "2.0" and is_readable(line)
    if "method" not in frame and ("result" in frame or "error" in frame):
        return () if is_sound and is_reply(frame) else ("null",)
    if "id" in frame:
        return (json.dumps(frame["id"] if is_request_id(frame["id"]) else None),)
    is_notification = isinstance(frame.get("method"), str) and isinstance(frame.get("params"), dict | None)
    return () if is_sound and is_notification else ("null",)


def is_request_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def is_reply(frame: dict[str, Any]) -> bool:
    match frame:
        case {"result": dict()}:
            return is_request_id(frame.get("id"))
        case {"error": {"code": int(), "message": str()}}:
            return "id" in frame and (frame["id"] is None or is_request_id(frame["id"]))
        case _:
            return False


def is_readable(line: bytes) -> bool:
    try:
        text = line.decode()
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except ValueError:
        return False
    depth = deepest = 0
    for sign in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (sign in "{[") - (sign in "}]")
        deepest = max(depth, deepest)
    return deepest < 200
