"""Translation of SQLite's errors."""

import logging
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from ...errors import BadResponse, SessionsError, Timeout, Unavailable, traceback_without_message
from .sqlite_file import write_obstacles

logger = logging.getLogger(__name__)
_PERMISSION_CODES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})


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
        # Another program wrote a row that can't be read. A bug of ours would look the same, so log it.
        logger.error("The store's file has a row that can't be read: %s", traceback_without_message(error))
        raise BadResponse(
            "the store's file has a row that mcp-sessions never wrote. Repair the row or name another file."
        ) from error


def _translate(code: int, path: str, busy_seconds: float) -> SessionsError | None:
    """Return the error for a failed transaction, which was rolled back. Return None for a bug of ours."""
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return Unavailable("the store's file was moved or deleted during the call; nothing was changed. Try again.")
    if code & 0xFF in _PERMISSION_CODES and os.access(path, os.F_OK) and (obstacles := write_obstacles(path)):
        where = " or to ".join(obstacles)
        return Unavailable(f"this user can't write to {where}; nothing was changed. Check the permissions.")
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Timeout(f"other calls locked the store for {busy_seconds:g} s; nothing was changed. Try again.")
        case sqlite3.SQLITE_FULL:
            return Unavailable("the disk is full; nothing was changed. Free some space and try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Unavailable(
                "the store's file can't be written to; nothing was changed. Check its permissions "
                "and its filesystem, then restart mcp-sessions."
            )
        case sqlite3.SQLITE_CANTOPEN:
            return Unavailable("the store's file can't be opened. Check its path and permissions.")
        case sqlite3.SQLITE_IOERR:
            return Unavailable("the disk failed to read or write; nothing was changed. Check it, then try again.")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return BadResponse(
                "the store's file is damaged or not a SQLite file. Restore it from a copy or name another file."
            )
        case _:
            return None
