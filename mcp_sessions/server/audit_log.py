"""A line of JSON for each change: who, what and how it ended. No contents and no credentials."""

import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler

from ..errors import Unavailable
from ..json_documents import Json, JsonObject, is_array
from ..models import (
    BulkResult,
    Change,
    Model,
    SessionDetail,
)

STDERR = "-"
_LONGEST = 512  # characters: what a subject or an id may have

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """A call that was to change something, and how it ended. `target` is the session that it names.

    `result` is none, and `code` the error's, where it failed.
    """

    subject: str
    tool: str
    arguments: JsonObject
    target: str
    request_id: str
    seconds: float
    result: Model | None
    code: str = ""


class Audit:
    """Writes to a file (0600, opened anew when it is rotated away), or to stderr by "-"."""

    def __init__(self, path: str) -> None:
        """Raises `OSError` for a file that can't be written to."""
        self._stderr = logging.StreamHandler(sys.stderr)
        self._file = None if path == STDERR else _OwnersFile(path, encoding="utf-8")

    def close(self) -> None:
        with suppress(OSError):  # of a line that could not be written, and went to stderr
            self._stderr.close()
            if self._file is not None:
                self._file.close()

    def require(self) -> None:
        """Raise `Unavailable` while what is done could not be written down."""
        try:
            if self._file is not None:
                self._file.reopenIfNeeded()
        except OSError as error:
            logger.error("the file of --audit can't be opened: %s", error.strerror)
            raise Unavailable(
                "changes are not made while they can't be audited; nothing was changed. Ask the operator."
            ) from None

    def change(self, done: Done) -> None:
        """A dry run is none."""
        if isinstance(done.result, BulkResult) and done.result.dry_run:
            return
        line = {key: _shown(value) for key, value in _line(done).items() if value or value == 0.0}
        record = logging.makeLogRecord({"msg": json.dumps(line, ensure_ascii=False)})
        try:
            (self._file or self._stderr).handle(record)
        except OSError as error:
            logger.error("the file of --audit can't be written to: %s", error.strerror)
            self._stderr.handle(record)


class _OwnersFile(WatchedFileHandler):
    def _open(self) -> TextIOWrapper:
        """Also when it is opened anew."""
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        raise  # it is called where an error is being handled


def _line(done: Done) -> JsonObject:
    result = done.result
    bulk = result if isinstance(result, BulkResult) else None
    became = result.session_id if isinstance(result, Change) else result.id if isinstance(result, SessionDetail) else ""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "subject": done.subject,
        "tool": done.tool,
        "action": done.arguments.get("action"),
        "session_id": done.target or became,
        "new_session_id": became if done.target and became != done.target else "",
        "session_ids": list(bulk.succeeded) if bulk else done.arguments.get("session_ids"),
        "failed_session_ids": [failure.session_id for failure in bulk.failed] if bulk else [],
        "outcome": done.code or ("partial" if bulk and bulk.failed else "ok"),
        "duration_ms": round(done.seconds * 1000, 1),
        "request_id": done.request_id,
    }


def _shown(value: Json) -> Json:
    """What can be seen of a caller's words, and not too many."""
    if is_array(value):
        return [_shown(item) for item in value[:100]]
    if isinstance(value, str):
        return "".join(char if char.isprintable() else "�" for char in value[:_LONGEST])
    return value if isinstance(value, int | float) else "?"
