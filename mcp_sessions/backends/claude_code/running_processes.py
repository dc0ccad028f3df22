"""The Claude Code processes that are running, and the session that each has open.

A process writes `sessions/PID.json`, and changes the session in it with `/clear` and `/resume`. If the process is
killed, the file stays, and another process may get its number. So the file counts only if the process began at the time
that the file says. The `.key` files beside it hold credentials and are never opened.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...json_documents import JsonObject
from ..transcripts.lines import parse
from ..transcripts.values import text_in
from .folder import is_session_id

_PROCESS_FILE = re.compile(r"[1-9][0-9]{0,9}\.json")
_MOST_ANCESTORS = 32
_MOST_BYTES = 64 * 1024
_PROC = Path("/proc")


def live_sessions(root: Path) -> dict[str, int]:
    """Return the sessions that a running process has open, each with its process id, as far as that can be told."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for name in os.listdir(root / "sessions"):  # noqa: PTH208 - faster than `iterdir`, which makes paths
            if _PROCESS_FILE.fullmatch(name):
                pid = int(name.removesuffix(".json"))
                session_id = _session_of(root, pid, _start_of(pid))
                found |= {session_id: pid} if session_id else {}
    return found


def session_of_ancestor(root: Path) -> str:
    """Return the session that the Claude Code process that started us has open, "" if there is none."""
    sessions = (_session_of(root, pid, start) for pid, start in _ancestors())
    return next(filter(None, sessions), "")


def _ancestors() -> Iterator[tuple[int, str]]:
    """Yield the processes that started this one, each with its start time, the nearest one first."""
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        fields = _stat(pid)
        if pid <= 1 or len(fields) < 20:
            return
        yield pid, fields[19]
        pid = int(fields[1])


def _session_of(root: Path, pid: int, start: str) -> str:
    entry = _read_entry(root / "sessions" / f"{pid}.json")
    session_id = text_in(entry, "sessionId")
    is_same_process = str(entry.get("procStart")) == start if start else _may_run(pid)
    is_open = is_same_process and entry.get("pid") == pid
    return session_id if is_open and is_session_id(session_id) else ""


def _may_run(pid: int) -> bool:
    """Return whether a process runs, where the system doesn't tell when it began."""
    if sys.platform == "win32" or (_PROC / "self").exists():  # on Windows, os.kill(pid, 0) would end the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's process
    return True


def _read_entry(path: Path) -> JsonObject:
    try:
        with path.open("rb") as file:
            return parse(file.read(_MOST_BYTES)) or {}
    except OSError:
        return {}


def _start_of(pid: int) -> str:
    """Return when a process began, in the unit of the system, "" if it does not run or the system doesn't tell."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` from the third one on, none without such a file."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the second field is the name, which may contain anything
