"""What can be said of a store's file before it is opened, without a change to it."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ...errors import Unavailable
from ..base import Check, Tell
from .sqlite_schema import MIGRATIONS, made_version, transaction
from .sqlite_wal import MOUNTS, is_local, wal_is_safe


def examine(path: str, connect: Callable[[], sqlite3.Connection], tell: Tell) -> None:
    """`connect` opens a file that there is. Raises as that does, and for a file that is no store."""
    tell(Check("SQLite", f"version {sqlite3.sqlite_version}, in this process"))
    file = Path(path)
    if path == ":memory:":
        tell(Check("store", "it is in memory, so its sessions are gone when the server ends", "warning"))
    elif not _is_there(file):
        _tell_of_new(file, tell)
    else:
        with closing(connect()) as connection:
            _tell_of_existing(file, connection, tell)
        _tell_of_rights(file, tell)


def _is_there(file: Path) -> bool:
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # SQLite will say what is wrong with it
    return True


def _tell_of_new(file: Path, tell: Tell) -> None:
    folder = next(parent for parent in file.parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise Unavailable(f"there is no {file}, and it can't be made in {folder}. Name another in --backend.")
    made = "it" if folder == file.parent else f"it and its folder, in {folder}"
    tell(Check("store", f"there is no {file} yet; the first start makes {made}"))
    wal = wal_is_safe(sqlite3.sqlite_version_info) and is_local(file)
    tell(Check("journal", f"it will have {'a write-ahead log' if wal else 'a rollback journal'}, which is safe here"))
    _tell_of_filesystem(file, tell)


def _tell_of_existing(file: Path, connection: sqlite3.Connection, tell: Tell) -> None:
    with transaction(connection, "BEGIN"):
        version = made_version(connection)
        mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    now = f"version {version} of its shape"
    if version == 0:
        now = "empty; the next start makes the store in it"
    elif version < len(MIGRATIONS):
        now += f"; the next start brings it to {len(MIGRATIONS)}, which older programs can't read"
    tell(Check("store", f"{file}: {now}"))
    if mode != "wal":
        tell(Check("journal", "a rollback journal"))
    elif not wal_is_safe(sqlite3.sqlite_version_info):
        text = (
            f"a write-ahead log, which SQLite {sqlite3.sqlite_version} can damage when several processes use it. "
            "Use a Python with SQLite 3.51.3 or newer"
        )
        tell(Check("journal", text, "warning"))
    else:
        tell(Check("journal", "a write-ahead log, which this SQLite keeps whole"))
    _tell_of_filesystem(file, tell)


def _tell_of_filesystem(file: Path, tell: Tell) -> None:
    if MOUNTS.exists() and not is_local(file):
        text = (
            "not known to be this machine's: over a network, locks may fail, and a store that several processes use "
            "be damaged. Name a file on a local disk, or use PostgreSQL"
        )
        tell(Check("filesystem", text, "warning"))


def _tell_of_rights(file: Path, tell: Tell) -> None:
    if not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        text = "this user can't write to the file and its folder, so sessions can only be read. Change the permissions"
        tell(Check("permissions", text, "warning"))
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        text = "other users of this machine may open the file. `chmod 600` keeps it to yourself"
        tell(Check("permissions", text, "warning"))
