"""Writes transcripts as Claude Code 2.1 writes them, in the shape of those in tests/backends/claude_code/fixtures."""

import json
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import NewMessage, iso

PROJECT = "/home/user/project"


class Transcript:
    """The lines of one session. Each line that is part of the conversation has the one before it as its parent."""

    def __init__(self, session_id: str = "", *, cwd: str = PROJECT) -> None:
        self.id = session_id or str(uuid4())
        self.lines: list[JsonObject] = []
        self.last = ""
        self._cwd = cwd

    def add(self, type: str, **fields: Json) -> None:
        """Add a line that is not part of the conversation."""
        self.lines.append({"type": type, **fields, "sessionId": self.id})

    def link(self, type: str, moment: datetime, *, parent: str | None = None, **fields: Json) -> str:
        """Add a line of the conversation, and return its uuid."""
        uuid = str(uuid4())
        self.lines.append(
            {
                "parentUuid": (self.last if parent is None else parent) or None,
                "isSidechain": False,
                "type": type,
                "uuid": uuid,
                "timestamp": f"{iso(moment)[:-1]}.{moment.microsecond // 1000:03}Z",
                "userType": "external",
                "cwd": self._cwd,
                "sessionId": self.id,
                "version": "2.1.332",
                "gitBranch": "main",
                **fields,
            }
        )
        self.last = uuid
        return uuid

    def attach(self, moment: datetime) -> str:
        """Add a line that Claude Code does not show, and that the conversation goes through."""
        return self.link("attachment", moment, attachment={"type": "environment", "snapshot": {"platform": "linux"}})

    def prompt(self, text: str, moment: datetime, **fields: Json) -> str:
        uuid = self.link("user", moment, message={"role": "user", "content": text}, **fields)
        self.add("api-request-blob", hash="0" * 64, value={"role": "user", "content": [{"type": "text", "text": text}]})
        return uuid

    def answer(self, blocks: Sequence[JsonObject], moment: datetime, *, tokens: int = 10, **fields: Json) -> list[str]:
        """Add an answer of the model, one line for each block, and return the uuids of the lines."""
        answer_id = f"msg_{uuid4().hex[:12]}"
        usage = {"input_tokens": tokens, "output_tokens": 0, "cache_read_input_tokens": 0}
        return [
            self.link(
                "assistant",
                moment,
                message={"id": answer_id, "role": "assistant", "content": [block], "usage": usage},
                **fields,
            )
            for block in blocks
        ]

    def result(self, call_id: str, text: str, moment: datetime, *, parent: str | None = None) -> str:
        block = {"tool_use_id": call_id, "type": "tool_result", "content": text}
        return self.link(
            "user",
            moment,
            parent=parent,
            message={"role": "user", "content": [block]},
            toolUseResult={"stdout": text * 2, "stderr": ""},
        )

    def say(self, message: NewMessage, moment: datetime, call_id: str = "") -> None:
        """Add a message as Claude Code would have stored it. `call_id` is the call of which it is the result."""
        if message.role == "tool":
            self.result(call_id, message.text, moment)
            return
        texts: list[JsonObject] = [{"type": "text", "text": message.text}] if message.text else []
        if message.role == "assistant":
            calls: list[JsonObject] = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments or "{}")}
                for call in message.tool_calls
            ]
            self.answer([*texts, *calls], moment)
            return
        images: list[JsonObject] = [
            {"type": item.type, "source": {"type": "url", "url": item.url, "media_type": item.media_type}}
            for item in message.attachments
        ]
        self.link("user", moment, message={"role": "user", "content": [*texts, *images] if images else message.text})

    def title(self, name: str) -> None:
        self.add("custom-title", customTitle=name)

    @property
    def data(self) -> bytes:
        lines = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in self.lines)
        return "".join(f"{line}\n" for line in lines).encode()

    def write(self, root: Path, moment: datetime | None = None, *, key: str = "-home-user-project") -> Path:
        """Write the file, which was changed last at `moment`."""
        path = root / "projects" / key / f"{self.id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        path.chmod(0o600)
        if moment is not None:
            time = round(moment.timestamp() * 10**6) * 1000
            os.utime(path, ns=(time, time))
        return path


def conversation(
    runs: Sequence[Sequence[NewMessage]], moment: datetime, *, name: str = "", number: int = 0, cwd: str = PROJECT
) -> Transcript:
    """Return the transcript of a session whose last message is from `moment`. `number` decides the id."""
    session_id = str(UUID(int=(number * 0x9E3779B97F4A7C15 << 64 | number) % 2**128)) if number else ""
    transcript = Transcript(session_id, cwd=cwd)
    transcript.add("mode", mode="normal")
    messages = [message for run in runs for message in run]
    if not messages:
        transcript.attach(moment)
    calls: dict[str, str] = {}
    for place, message in enumerate(messages, 1):
        time = moment - timedelta(milliseconds=len(messages) - place)
        transcript.say(message, time, calls.get(message.tool_name, ""))
        calls |= {call.name: call.id for call in message.tool_calls}
    if name:
        transcript.title(name)
    return transcript
