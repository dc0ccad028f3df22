"""SQLite's errors, as what a caller is told of them."""

import logging
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import BadResponse, SessionsError, Timeout, Unavailable, whereabouts

logger = logging.getLogger(__name__)

_MOVED = 1032  # SQLITE_READONLY_DBMOVED
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN)


@contextmanager
def translating(path: str, busy_seconds: float) -> Generator[None]:
    """Raise what is foreseen of SQLite's errors as a `SessionsError`; `path` is the store's file."""
    try:
        yield
    except sqlite3.Error as error:
        known = _known(getattr(error, "sqlite_errorcode", 0), path, busy_seconds)
        if known is None:
            raise
        raise known from error
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError) as error:
        # A row that another program wrote; a mistake of ours would show so too, hence the log.
        logger.error("What the store's file holds can't be read: %s", whereabouts(error))
        raise BadResponse(
            "the store's file has a row that mcp-sessions never wrote. Mend it or name another."
        ) from error


def _known(code: int, path: str, busy_seconds: float) -> SessionsError | None:
    """Return what to say of a failure whose cause lies outside this program; its transaction was rolled back."""
    if code == _MOVED:
        return Unavailable("the store's file was moved or deleted during the call; nothing was changed. Try again.")
    if code & 0xFF in _UNWRITABLE and _is_the_folders_fault(code & 0xFF, path):
        return Unavailable(
            "the folder of the store's file can't be written to, where SQLite needs files of its own beside it; "
            "nothing was changed. Check the folder's permissions."
        )
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Timeout(f"others kept the store locked for {busy_seconds:g} s; nothing was changed. Try again.")
        case sqlite3.SQLITE_FULL:
            return Unavailable("the disk is full; nothing was changed. Free some space and try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Unavailable("the store's file can't be written to; nothing was changed. Check its permissions.")
        case sqlite3.SQLITE_CANTOPEN:
            return Unavailable("the store's file can't be opened. Check the path in --backend and its permissions.")
        case sqlite3.SQLITE_IOERR:
            return Unavailable("the disk failed to read or write; nothing was changed. Check it, then try again.")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return BadResponse("the store's file is damaged or no SQLite file. Restore it from a copy or name another.")
        case _:
            return None


def _is_the_folders_fault(code: int, path: str) -> bool:
    folder = Path(path).parent
    if path == ":memory:" or not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK):
        return False
    return code == sqlite3.SQLITE_CANTOPEN or os.access(path, os.W_OK)
