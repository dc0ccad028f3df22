"""Writes threads as Codex writes them, in the shape of the files in tests/backends/codex/fixtures."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import NewMessage, iso

PROJECT = "/home/user/project"
_TABLE = """CREATE TABLE IF NOT EXISTS threads (
    id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    cwd TEXT NOT NULL, title TEXT NOT NULL, tokens_used INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0,
    archived_at INTEGER, git_branch TEXT, first_user_message TEXT NOT NULL DEFAULT '', created_at_ms INTEGER,
    updated_at_ms INTEGER, preview TEXT NOT NULL DEFAULT '', history_mode TEXT NOT NULL DEFAULT 'legacy', name TEXT
)"""


class Rollout:
    """The lines of one file of a thread: paginated, as Codex 0.171 writes them, or legacy, as 0.120 does."""

    def __init__(
        self,
        thread_id: str = "",
        *,
        legacy: bool = False,
        moment: datetime | None = None,
        ordinal: int = 0,
        **meta: Json,
    ) -> None:
        self.id = thread_id or str(uuid4())
        self.created_at = moment or datetime.now(UTC)
        self.legacy = legacy
        self.lines: list[bytes] = []
        self.prompts: list[str] = []
        self._ordinal = ordinal
        self._turn = ""
        fields: JsonObject = {"id": self.id, "timestamp": _milliseconds(self.created_at), "cwd": PROJECT}
        fields |= {"originator": "codex_cli_rs", "cli_version": "0.120.0" if legacy else "0.171.0", "source": "cli"}
        fields |= {} if legacy else {"session_id": self.id, "history_mode": "paginated"}
        self.add(
            "session_meta", {**fields, "git": {"commit_hash": "0" * 40, "branch": "main"}, **meta}, self.created_at
        )

    def add(self, type: str, payload: JsonObject, moment: datetime) -> None:
        """Add a line."""
        numbered: JsonObject = {} if self.legacy else {"ordinal": self._ordinal}
        self._ordinal += 1
        self.add_bytes(_json({"timestamp": _milliseconds(moment), **numbered, "type": type, "payload": payload}))

    def add_bytes(self, line: bytes) -> None:
        """Add bytes that may be no line of Codex."""
        self.lines.append(line + b"\n")

    def event(self, type: str, moment: datetime, **fields: Json) -> None:
        self.add("event_msg", {"type": type, **fields}, moment)

    def item(self, type: str, moment: datetime, id: str = "", **fields: Json) -> str:
        """Add an item of a paginated thread, and return its id."""
        id = id or f"item_{uuid4().hex[:12]}"
        time = round(moment.timestamp() * 1000)
        item: JsonObject = {"type": type, "id": id, **fields}
        self.event("item_completed", moment, turn_id=self._turn, item=item, started_at_ms=time, completed_at_ms=time)
        return id

    def start(self, moment: datetime) -> None:
        """Begin a turn."""
        self._turn = str(uuid4())
        self.event("task_started", moment, turn_id=self._turn, started_at=round(moment.timestamp()))

    def end(self, moment: datetime, *, aborted: bool = False) -> None:
        """End the turn."""
        if aborted:
            self.event("turn_aborted", moment, turn_id=self._turn, reason="interrupted")
        else:
            self.event("task_complete", moment, turn_id=self._turn, last_agent_message=None)

    def prompt(self, text: str, moment: datetime, images: Sequence[str] = ()) -> None:
        self.prompts.append(text)
        self._as_model_saw("user", text, moment)
        if self.legacy:
            self.event("user_message", moment, message=text, images=list(images), local_images=[])
            return
        content: list[Json] = [{"type": "text", "text": text}, *({"type": "image", "image_url": url} for url in images)]
        self.item("UserMessage", moment, content=content)

    def answer(self, text: str, moment: datetime) -> None:
        if self.legacy:
            self.event("agent_message", moment, message=text, phase="final_answer")
        else:
            self.item("AgentMessage", moment, content=[{"type": "Text", "text": text}], phase="final_answer")
        self._as_model_saw("assistant", text, moment)

    def tool(self, name: str, arguments: str, output: str, moment: datetime) -> None:
        """Add a call of a tool with its result."""
        call_id = f"call_{uuid4().hex[:12]}"
        call = {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}
        self.add("response_item", call, moment)
        if not self.legacy:
            result = {"content": [{"type": "text", "text": output}]}
            told: Json = json.loads(arguments)
            self.item("McpToolCall", moment, call_id, server="tools", tool=name, arguments=told, result=result)
        self.add("response_item", {"type": "function_call_output", "call_id": call_id, "output": output}, moment)

    def turn(self, prompt: str, answer: str, moment: datetime, *, aborted: bool = False) -> None:
        """Add a turn with a prompt and, unless that is "", an answer."""
        self.start(moment)
        self.prompt(prompt, moment)
        if answer:
            self.answer(answer, moment)
        self.end(moment, aborted=aborted)

    def _as_model_saw(self, role: str, text: str, moment: datetime) -> None:
        type = "input_text" if role == "user" else "output_text"
        content: list[Json] = [{"type": type, "text": text}]
        self.add("response_item", {"type": "message", "role": role, "content": content}, moment)

    @property
    def data(self) -> bytes:
        return b"".join(self.lines)

    @property
    def ordinal(self) -> int:
        """The ordinal of the next line."""
        return self._ordinal

    def base(self, *, lines: int | None = None, segment: str = "") -> JsonObject:
        """Return the `history_base` of a fork after so many lines of this file, all by default."""
        kept = self.lines[:lines]
        end = self._ordinal - (len(self.lines) - len(kept))
        return {
            "thread_id": segment or self.id,
            "end_ordinal_exclusive": end,
            "end_byte_offset": sum(map(len, kept)),
        }

    def write(self, home: Path, *, archived: bool = False, segment: str = "", day: str = "") -> Path:
        """Write the file."""
        time = self.created_at.strftime("%Y-%m-%dT%H-%M-%S")
        folder = home / "archived_sessions" if archived else home / "sessions" / (day or time[:10].replace("-", "/"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"rollout-{time}-{self.id}{segment and f'_{segment}'}.jsonl"
        path.write_bytes(self.data)
        return path


def conversation(
    runs: Sequence[Sequence[NewMessage]], moment: datetime, *, legacy: bool = False, number: int = 0, cwd: str = PROJECT
) -> Rollout:
    """Return the file of a thread whose last message is from `moment`. `number` decides the id."""
    thread_id = str(UUID(int=(number * 0x9E3779B97F4A7C15 << 64 | number) % 2**128)) if number else ""
    count = sum(map(len, runs))
    rollout = Rollout(thread_id, legacy=legacy, moment=moment - timedelta(milliseconds=count), cwd=cwd)
    place = 0
    for run in runs:
        calls: dict[str, str] = {}
        for message in run:
            place += 1
            time = moment - timedelta(milliseconds=count - place)
            if message is run[0]:
                rollout.start(time)
            calls |= {call.name: call.arguments or "{}" for call in message.tool_calls}
            if message.role == "user":
                rollout.prompt(message.text, time, [item.url for item in message.attachments])
            elif message.role == "tool":
                rollout.tool(message.tool_name, calls.get(message.tool_name, "{}"), message.text, time)
            elif message.text:
                rollout.answer(message.text, time)
        rollout.end(moment)
    return rollout


def record(home: Path, rollout: Rollout, path: Path, **columns: object) -> None:
    """Write a thread's row into the database of a home."""
    record_all(home, [(rollout, path, columns)])


def record_all(home: Path, rows: Sequence[tuple[Rollout, Path, Mapping[str, object]]]) -> None:
    """Write rows for threads, each with the file of the thread and the values of further columns."""
    with closing(sqlite3.connect(home / "state_5.sqlite")) as connection, connection:
        connection.execute(_TABLE)
        for rollout, path, columns in rows:
            values = {**_row(rollout, path), **columns}
            for key in ("created_at", "updated_at"):
                time = values[f"{key}_ms"]
                values[key] = time // 1000 if isinstance(time, int) else 0
            names, marks = ", ".join(values), ", ".join("?" * len(values))
            connection.execute(f"INSERT OR REPLACE INTO threads ({names}) VALUES ({marks})", [*values.values()])


def _row(rollout: Rollout, path: Path) -> dict[str, object]:
    prompt = rollout.prompts[0] if rollout.prompts else ""
    time = round(rollout.created_at.timestamp() * 1000)
    return {
        "id": rollout.id,
        "rollout_path": str(path),
        "cwd": PROJECT,
        "created_at_ms": time,
        "updated_at_ms": time,
        "title": prompt,
        "preview": prompt,
        "first_user_message": prompt,
        "git_branch": "main",
        "history_mode": "legacy" if rollout.legacy else "paginated",
    }


def name_in_index(home: Path, thread_id: str, name: str) -> None:
    """Add a line to the index of names."""
    with (home / "session_index.jsonl").open("ab") as file:
        file.write(
            _json({"id": thread_id, "thread_name": name, "updated_at": "2026-11-28T02:34:08.713347631Z"}) + b"\n"
        )


def _milliseconds(moment: datetime) -> str:
    return f"{iso(moment)[:-1]}.{moment.microsecond // 1000:03}Z"


def _json(value: JsonObject) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
