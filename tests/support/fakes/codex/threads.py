"""The threads in a home of Codex, and how Codex 0.171 changes them. See docs/backends/codex.md."""

import fcntl
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Params = dict[str, Any]


class Refusal(Exception):
    """A request that Codex refuses, with its message."""


class Home:
    """A home of Codex, with the methods that this version has."""

    def __init__(self, root: Path, version: str) -> None:
        self.root = root
        self.is_alone = False
        self.methods: dict[str, Callable[[Params], Params]] = {
            "thread/name/set": self.set_name,
            "thread/archive": self.archive,
            "thread/unarchive": self.unarchive,
            "thread/fork": self.fork,
        }
        self._is_old = tuple(map(int, version.split(".")[:2])) < (0, 144)
        if not self._is_old:
            self.methods["thread/delete"] = self.delete

    def set_name(self, params: Params) -> Params:
        thread_id, name = params["threadId"], params["name"].strip()
        if not name:
            raise Refusal("thread name must not be empty")
        (file, *_) = self._active(thread_id)
        if not (self._is_old and is_paginated(file)):
            self._update(thread_id, **({"name": name} if is_paginated(file) else {"title": name}))
        self._add_name(thread_id, name)
        return {}

    def archive(self, params: Params) -> Params:
        for thread_id in self.family(params["threadId"]):
            self._refuse_if_locked(thread_id)
        self._active(params["threadId"])
        for thread_id in self.family(params["threadId"]):
            for file in self._files(thread_id):
                self._move(thread_id, file, self.root / "archived_sessions" / file.name, archived_at=int(time.time()))
        return {}

    def unarchive(self, params: Params) -> Params:
        thread_id = params["threadId"]
        if not any("archived_sessions" in file.parts for file in self._files(thread_id)):
            raise Refusal(f"no archived rollout found for thread id {thread_id}")
        for member in self.family(thread_id):
            for file in self._files(member):
                day = file.name.removeprefix("rollout-")[:10].replace("-", "/")
                self._move(member, file, self.root / "sessions" / day / file.name, archived_at=None)
        return {"thread": {"id": thread_id}}

    def delete(self, params: Params) -> Params:
        thread_id = params["threadId"]
        family = self.family(thread_id)
        if not self._files(thread_id):
            raise Refusal(f"no rollout found for thread id {thread_id}")
        files = [file_id_of(file) for member in family for file in self._files(member)]
        for file in self.root.rglob("rollout-*.jsonl"):
            base: Params = meta_of(file).get("history_base") or {}
            if base.get("thread_id") in files and meta_of(file)["id"] not in family:
                raise Refusal(f"cannot delete thread {thread_id}: forked history still references it")
        for member in family:
            self._refuse_if_locked(member)
        for member in family:
            for file in self._files(member):
                file.unlink()
            self._execute("DELETE FROM threads WHERE id = ?", member)
        index = self.root / "session_index.jsonl"
        if index.exists():
            lines = index.read_text().splitlines(keepends=True)
            index.write_text("".join(line for line in lines if json.loads(line)["id"] not in family))
        return {}

    def fork(self, params: Params) -> Params:
        source = max(self._active(params["threadId"]))
        end = end_of_turn(source, "" if self._is_old else params.get("lastTurnId") or "")
        thread_id = str(uuid.uuid4())
        now = datetime.now(UTC)
        stamp = now.strftime("%Y-%m-%dT%H-%M-%S")
        path = self.root / "sessions" / stamp[:10].replace("-", "/") / f"rollout-{stamp}-{thread_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        iso = f"{now.isoformat(timespec='milliseconds')[:23]}Z"
        old = meta_of(source)
        meta = {**old, "id": thread_id, "timestamp": iso, "forked_from_id": params["threadId"]}
        line: Params = {"timestamp": iso, "type": "session_meta", "payload": meta}
        rest = source.read_bytes()[:end]
        if is_paginated(source):
            ordinal = json.loads(rest.splitlines()[-1])["ordinal"] + 1
            line["ordinal"] = ordinal
            end_of_base = {"end_ordinal_exclusive": ordinal, "end_byte_offset": end}
            meta["history_base"] = {"thread_id": file_id_of(source), **end_of_base}
            rest = b""
        path.write_bytes(json.dumps(line).encode() + b"\n" + rest)
        self._copy_row(params["threadId"], thread_id, path)
        name = self._names().get(params["threadId"])
        if name:
            self._add_name(thread_id, name)
        return {"thread": {"id": thread_id, "path": str(path)}}

    def _files(self, thread_id: str) -> list[Path]:
        folders = (self.root / "sessions", self.root / "archived_sessions")
        return [path for folder in folders for path in folder.rglob(f"rollout-*{thread_id}*")]

    def _active(self, thread_id: str) -> list[Path]:
        found = [path for path in self._files(thread_id) if "archived_sessions" not in path.parts]
        if not found:
            raise Refusal(f"no rollout found for thread id {thread_id}")
        return found

    def family(self, thread_id: str) -> list[str]:
        """Return a thread and those of its subagents."""
        parents = {meta["id"]: parent_of(meta) for meta in map(meta_of, self.root.rglob("rollout-*.jsonl")) if meta}
        family = [thread_id]
        for member in () if self.is_alone else family:
            family += [child for child, parent in parents.items() if parent == member and child not in family]
        return family

    def _refuse_if_locked(self, thread_id: str) -> None:
        path = self.root / "thread-writer-locks" / f"{thread_id}.lock"
        if path.exists():
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise Refusal(f"thread {thread_id} already has an active writer") from None

    def _move(self, thread_id: str, file: Path, target: Path, archived_at: int | None) -> None:
        if file != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
        archived = int(archived_at is not None)
        self._update(thread_id, rollout_path=str(target), archived_at=archived_at, archived=archived)

    def _names(self) -> dict[str, str]:
        index = self.root / "session_index.jsonl"
        lines = map(json.loads, index.read_text().splitlines()) if index.exists() else ()
        return {line["id"]: line["thread_name"] for line in lines}

    def _add_name(self, thread_id: str, name: str) -> None:
        with (self.root / "session_index.jsonl").open("a") as file:
            file.write(json.dumps({"id": thread_id, "thread_name": name}) + "\n")

    def _update(self, thread_id: str, **values: object) -> None:
        values["updated_at_ms"] = time.time_ns() // 1_000_000
        fields = ", ".join(f"{key} = ?" for key in values)
        self._execute(f"UPDATE threads SET {fields} WHERE id = ?", *values.values(), thread_id)

    def _copy_row(self, source: str, thread_id: str, path: Path) -> None:
        for row in self._execute("SELECT * FROM threads WHERE id = ?", source):
            now = time.time_ns() // 1_000_000
            new = {**row, "id": thread_id, "rollout_path": str(path), "created_at_ms": now, "updated_at_ms": now}
            marks = ", ".join("?" * len(new))
            self._execute(f"INSERT INTO threads ({', '.join(new)}) VALUES ({marks})", *new.values())

    def _execute(self, statement: str, *values: object) -> list[dict[str, Any]]:
        path = self.root / "state_5.sqlite"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement, values)]


def lines_of(file: Path) -> Iterator[tuple[int, Params]]:
    """Yield the lines of a rollout, each with where it ends."""
    end = 0
    for line in file.read_bytes().splitlines(keepends=True):
        end += len(line)
        yield end, json.loads(line)


def file_id_of(file: Path) -> str:
    """Return the id of a file: that of its thread, or of its segment."""
    return file.stem[-36:]


def meta_of(file: Path) -> Params:
    with file.open("rb") as opened:
        line: Params = json.loads(opened.readline())
    return line["payload"] if line["type"] == "session_meta" else {}


def is_paginated(file: Path) -> bool:
    return meta_of(file).get("history_mode") == "paginated"


def parent_of(meta: Params) -> str:
    """Return the thread that started a subagent, "" for the thread of a user."""
    source: Any = meta.get("source")
    if isinstance(source, str) or "subagent" not in source:
        return ""
    parent: str = source["subagent"]["thread_spawn"]["parent_thread_id"]
    return parent


def end_of_turn(file: Path, turn_id: str) -> int:
    """Return where a turn ends, by default the last one."""
    if not turn_id:
        return file.stat().st_size
    ends = [
        end
        for end, line in lines_of(file)
        if line["payload"].get("turn_id") == turn_id
        and line["payload"].get("type") in ("task_complete", "turn_aborted")
    ]
    if not ends:
        raise Refusal(f"turn not found: {turn_id}")
    return ends[-1]
