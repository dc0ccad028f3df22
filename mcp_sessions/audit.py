"""A line of JSON for each change: who, what and how it ended. No contents and no credentials."""

import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler

from mcp.types import CallToolResult, TextContent

from .errors import printable
from .models import Json, JsonObject, is_array

STDERR = "-"


@dataclass(frozen=True)
class Done:
    """A call that was to change something. `target` is the session that it names."""

    tool: str
    arguments: JsonObject
    target: str
    request_id: str


class Audit:
    """Writes to a file (0600, opened anew when it is rotated away), or to stderr by "-"."""

    def __init__(self, path: str) -> None:
        """Raises `OSError` for a file that can't be written to."""
        if path == STDERR:
            self._handler: logging.Handler = logging.StreamHandler(sys.stderr)
        else:
            self._handler = _OwnersFile(path, encoding="utf-8")

    def change(self, subject: str, done: Done, result: CallToolResult | None, seconds: float) -> None:
        """How a change ended; one without a result was broken off. A dry run is none."""
        said: JsonObject = (result.structured_content if result else None) or {}
        if said.get("dry_run"):
            return
        became = said.get("session_id") or said.get("id") or ""
        line: JsonObject = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "subject": subject,
            "tool": done.tool,
            "action": done.arguments.get("action"),
            "session_id": done.target or became,
            "new_session_id": became if done.target and became != done.target else "",
            "session_ids": said.get("succeeded") or ("succeeded" not in said and done.arguments.get("session_ids")),
            "failed_session_ids": [failure["session_id"] for failure in said.get("failed", ())],
            "outcome": _outcome(result),
            "duration_ms": round(seconds * 1000, 1),
            "request_id": done.request_id,
        }
        kept = {key: _shown(value) for key, value in line.items() if value or value == 0.0}
        self._handler.handle(logging.makeLogRecord({"msg": json.dumps(kept, ensure_ascii=False)}))


class _OwnersFile(WatchedFileHandler):
    def _open(self) -> TextIOWrapper:
        """Also when it is opened anew."""
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return super()._open()


def _outcome(result: CallToolResult | None) -> str:
    """`ok`, `partial` (of many sessions, some failed), `cancelled` or the code of the error."""
    if result is None:
        return "cancelled"
    if result.is_error:
        return result.content[0].text.partition(":")[0] if isinstance(result.content[0], TextContent) else "internal"
    said: JsonObject = result.structured_content or {}
    return "partial" if said.get("failed") else "ok"


def _shown(value: Json) -> Json:
    """What can be seen of a caller's words, and not too many."""
    if is_array(value):
        return [_shown(item) for item in value[:100]]
    return printable(value) if isinstance(value, str) else value if isinstance(value, int | float) else "?"
