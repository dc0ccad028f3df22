"""The audit log: one line of JSON for each change, with the caller, the tool and the outcome, and no contents."""

import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler

from ..errors import Unavailable, replace_unprintable
from ..json_documents import Json, JsonObject, is_array
from ..models import (
    BulkResult,
    Change,
    Model,
    SessionDetail,
)

STDERR = "-"
_MAX_CHARACTERS = 512  # of a subject or an id
_MAX_IDS = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditEntry:
    """A call of a tool that changes something, and its outcome.

    `target` is the id of the session that the arguments name. If the call failed, `result` is None and `code` is the
    error's code.
    """

    subject: str
    tool: str
    arguments: JsonObject
    target: str
    request_id: str
    seconds: float
    result: Model | None
    code: str = ""


class AuditLog:
    """An audit log in a file (mode 0600, reopened after log rotation), or on stderr if the path is "-"."""

    def __init__(self, path: str) -> None:
        """Open the log. Raise `OSError` for a file that can't be written to."""
        self._stderr = logging.StreamHandler(sys.stderr)
        self._file = None if path == STDERR else _PrivateFileHandler(path, encoding="utf-8")

    def close(self) -> None:
        with suppress(OSError):  # closing flushes, and fails again for a line that could not be written
            self._stderr.close()
            if self._file is not None:
                self._file.close()

    def require_writable(self) -> None:
        """Raise `Unavailable` if the file can't be opened."""
        try:
            if self._file is not None:
                self._file.reopenIfNeeded()
        except OSError as error:
            logger.error("the file of --audit can't be opened: %s", error.strerror)
            raise Unavailable(
                "the audit log can't be written, so nothing was changed. Ask the operator to repair it."
            ) from None

    def write(self, entry: AuditEntry) -> None:
        """Write a line for the entry, unless it was a dry run."""
        if isinstance(entry.result, BulkResult) and entry.result.dry_run:
            return
        line = {key: _limit(value) for key, value in _fields(entry).items() if value or value == 0.0}
        record = logging.makeLogRecord({"msg": json.dumps(line, ensure_ascii=False)})
        try:
            (self._file or self._stderr).handle(record)
        except OSError as error:
            logger.error("the file of --audit can't be written to: %s", error.strerror)
            self._stderr.handle(record)


class _PrivateFileHandler(WatchedFileHandler):
    def _open(self) -> TextIOWrapper:
        # Overridden because a reopened file must be private too.
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        raise  # logging calls this inside an `except` block, and would otherwise only print the error


def _fields(entry: AuditEntry) -> JsonObject:
    result = entry.result
    bulk = result if isinstance(result, BulkResult) else None
    new_id = result.session_id if isinstance(result, Change) else result.id if isinstance(result, SessionDetail) else ""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "subject": entry.subject,
        "tool": entry.tool,
        "action": entry.arguments.get("action"),
        "session_id": entry.target or new_id,
        "new_session_id": new_id if entry.target and new_id != entry.target else "",
        "session_ids": list(bulk.succeeded) if bulk else entry.arguments.get("session_ids"),
        "failed_session_ids": [failure.session_id for failure in bulk.failed] if bulk else [],
        "outcome": entry.code or ("partial" if bulk and bulk.failed else "ok"),
        "duration_ms": round(entry.seconds * 1000, 1),
        "request_id": entry.request_id,
    }


def _limit(value: Json) -> Json:
    """Return the value of a field, shortened and without unprintable characters, since callers choose it."""
    if is_array(value):
        return [_limit(item) for item in value[:_MAX_IDS]]
    if isinstance(value, str):
        return replace_unprintable(value[:_MAX_CHARACTERS])
    return value if isinstance(value, int | float) else "?"
