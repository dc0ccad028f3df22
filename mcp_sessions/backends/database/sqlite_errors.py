"""Translation of SQLite's errors."""

import logging
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import BadResponse, SessionsError, Timeout, Unavailable, traceback_without_message

logger = logging.getLogger(__name__)


@contextmanager
def translate_errors(path: str, busy_seconds: float) -> Generator[None]:
    """Raise expected SQLite errors as a `SessionsError`, and others as they are. `path` is the store's file."""
    try:
        yield
    except sqlite3.Error as error:
        translated = _translate(getattr(error, "sqlite_errorcode", 0), path, busy_seconds)
        if translated is None:
            raise
        raise translated from error
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError) as error:
        # Another program wrote a row that can't be read. A bug of ours would look the same, hence the log.
        logger.error("The store's file has a row that can't be read: %s", traceback_without_message(error))
        raise BadResponse(
            "the store's file has a row that mcp-sessions never wrote. Repair it or name another."
        ) from error


def _translate(code: int, path: str, busy_seconds: float) -> SessionsError | None:
    """Return the error for a failed transaction, which was rolled back. Return None for a bug of ours."""
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return Unavailable("the store's file was moved or deleted during the call; nothing was changed. Try again.")
    match code & 0xFF:
        case primary if _is_caused_by_folder(primary, path):
            return Unavailable(
                "the folder of the store's file can't be written to, but SQLite has to create files in it; "
                "nothing was changed. Check the folder's permissions."
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Timeout(f"other calls locked the store for {busy_seconds:g} s; nothing was changed. Try again.")
        case sqlite3.SQLITE_FULL:
            return Unavailable("the disk is full; nothing was changed. Free some space and try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Unavailable("the store's file can't be written to; nothing was changed. Check its permissions.")
        case sqlite3.SQLITE_CANTOPEN:
            return Unavailable("the store's file can't be opened. Check the path in --backend and its permissions.")
        case sqlite3.SQLITE_IOERR:
            return Unavailable("the disk failed to read or write; nothing was changed. Check it, then try again.")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return BadResponse(
                "the store's file is damaged or not a SQLite file. Restore it from a copy or name another."
            )
        case _:
            return None


def _is_caused_by_folder(code: int, path: str) -> bool:
    """Return whether the error occurred because SQLite can't create a journal in the store's folder."""
    folder = Path(path).parent
    if path == ":memory:" or not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK):
        return False
    is_writable = os.access(path, os.W_OK)
    return code == sqlite3.SQLITE_CANTOPEN or (is_writable and code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM))
