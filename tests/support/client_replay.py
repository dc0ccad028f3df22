"""Replays a recording of a client's traffic (tests/support/client_traffic) against a server process over stdio."""

import json
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from tests.support.fork_server import forked
from tests.support.http_server import environment
from tests.support.stdio_client import Frame, Peer

FOLDER = Path(__file__).parent / "client_traffic"
Event = dict[str, Any]
Corrections = dict[str, dict[str, Event]]

_CODE = re.compile(r'confirm="(\w+)"')


@dataclass(frozen=True)
class Recording:
    """The traffic of one client. `variables` are the names of its own environment variables."""

    variables: list[str]
    events: list[Event]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def corrections() -> Corrections:
    return json.loads((FOLDER / "corrections.json").read_text(encoding="utf-8"))


def recorded(name: str) -> Recording:
    """Return a recording as it was made."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    header, *events = map(json.loads, lines)
    return Recording(header["environment"], events)


def corrected(name: str) -> Recording:
    """Return a recording with the outcomes that are right today."""
    recording, changes = recorded(name), corrections().get(name, {})
    outcomes = {id: {key: value for key, value in change.items() if key != "reason"} for id, change in changes.items()}
    events = [
        {"reply": event["reply"], **outcomes.get(str(event["reply"]), outcome_of(event))} if "reply" in event else event
        for event in recording.events
    ]
    return Recording(recording.variables, events)


def outcome_of(reply: Event) -> Event:
    """Return what a recorded reply says of its outcome."""
    return {key: value for key, value in reply.items() if key not in ("t", "reply")}


async def replay(recording: Recording, folder: Path) -> None:
    """Play a recording against a server on an empty store in `folder`. Raise `AssertionError` where it differs."""
    errors = folder / "stderr"
    variables = {**environment(folder), **dict.fromkeys(recording.variables, "the client's own value")}
    with errors.open("wb") as stderr:
        process = await anyio.open_process(forked("-m", "mcp_sessions"), stderr=stderr, env=variables)
    peer = Peer(process, errors)
    try:
        await _Replay(peer).play(recording.events)
        assert errors.read_text(encoding="utf-8") == ""
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


class _Replay:
    """The client's side of one recording, while it is played."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._values: dict[str, str] = {}
        self._replies: dict[object, Frame] = {}
        self._tools: dict[object, str] = {}
        self._asked: Frame = {}

    async def play(self, events: list[Event]) -> None:
        for event in events:
            if "send" in event:
                await self._send(event["send"])
            elif "reply" in event:
                await self._expect_reply(event["reply"], outcome_of(event))
            elif "asked" in event:
                await self._expect_question(event["asked"])
            elif "answer" in event:
                await self._peer.send({"jsonrpc": "2.0", "id": self._asked["id"], **event["answer"]})
        await self._end([event["end"] for event in events if "end" in event])

    async def _send(self, frame: Frame) -> None:
        if frame["method"] == "tools/call":
            self._tools[frame["id"]] = frame["params"]["name"]
        line = re.sub(r"{{(\w+)}}", lambda found: json.dumps(self._values[found[1]])[1:-1], json.dumps(frame))
        await self._peer.send(line.encode())

    async def _next(self) -> Frame:
        """Return the next frame that is no notification."""
        while True:
            frame = await self._peer.receive()
            if "id" in frame:
                return frame

    async def _expect_reply(self, request_id: object, expected: Event) -> None:
        while request_id not in self._replies:
            frame = await self._next()
            assert "method" not in frame, f"the server asked by {frame['method']}, and the recording has no question"
            assert frame["id"] not in self._replies, f"request {frame['id']} was answered twice"
            self._replies[frame["id"]] = frame
        reply = self._replies.pop(request_id)
        assert "error" not in reply, reply
        found = _outcome(reply["result"]) if request_id in self._tools else {}
        assert found == expected, f"request {request_id}: {reply}"
        self._keep_values(self._tools.get(request_id, ""), reply["result"])

    async def _expect_question(self, method: str) -> None:
        self._asked = await self._next()
        assert self._asked.get("method") == method, f"the server answered, and the recording has {method}"

    def _keep_values(self, tool: str, result: Frame) -> None:
        if tool == "create_session" and not result.get("isError"):
            self._values.setdefault("ID0", result["structuredContent"]["id"])
        if "requestState" in result:
            self._values["STATE"] = result["requestState"]
            (self._values["QUESTION"],) = result["inputRequests"]
        if result.get("isError") and (found := _CODE.search(result["content"][0]["text"])):
            self._values["CODE"] = found[1]

    async def _end(self, ends: list[str | int]) -> None:
        """End the server as the client did, and check that it says nothing more and exits with 0."""
        for end in ends:
            if isinstance(end, int):
                with suppress(ProcessLookupError):  # it may have ended since stdin was closed
                    self._peer.process.send_signal(signal.Signals(end))
            else:
                await self._peer.stdin.aclose()
        left = [*self._replies.values(), *(frame for frame in await self._peer.rest() if "id" in frame)]
        assert not left, f"the recording has nothing of {left}"
        # A signal that follows the end of stdin may reach the process after it has put its signal handlers back.
        too_late = {-end for end in ends[1:] if isinstance(end, int)}
        status = await self._peer.end()
        assert status in {0} | too_late, f"the server exited with {status}"


def _outcome(result: Frame) -> Event:
    """Return the outcome of a tool call in the terms of a recording."""
    if result.get("resultType") == "input_required":
        return {"input_required": True}
    is_error = result.get("isError", False)
    return {"is_error": is_error, "code": result["content"][0]["text"].partition(":")[0] if is_error else ""}
