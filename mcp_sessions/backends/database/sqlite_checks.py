"""Checks of a store's file before it is opened, which don't change it."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ...errors import Unavailable
from ..filesystems import MOUNTS, is_local
from ..health import CheckResult, Report
from .schemas import SqliteSchema
from .sqlite_file import write_obstacles
from .sqlite_schema import schema_version, transaction
from .sqlite_wal import wal_is_safe


def examine(path: str, schema: SqliteSchema, connect: Callable[[], sqlite3.Connection], report: Report) -> None:
    """Report the state of a store's file. `connect` opens an existing file.

    Raise the errors of `connect`, and `Unavailable` if the file is not a store or can't be created.
    """
    report(CheckResult("SQLite", f"version {sqlite3.sqlite_version}, in this process"))
    file = Path(path)
    if path == ":memory:":
        report(CheckResult("store", "it is in memory, so its sessions are lost when the server stops", "warning"))
    elif not _exists(file):
        _report_new(file, report)
    else:
        with closing(connect()) as connection:
            _report_existing(file, schema, connection, report)
        _report_permissions(file, report)


def _exists(file: Path) -> bool:
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # SQLite's own error will be more precise
    return True


def _report_new(file: Path, report: Report) -> None:
    folder = next(parent for parent in file.parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise Unavailable(f"{file} does not exist and can't be created in {folder}. Choose another path.")
    created = "it" if folder == file.parent else f"it and its folder, in {folder}"
    report(CheckResult("store", f"{file} does not exist yet; the first start creates {created}"))
    wal = wal_is_safe(sqlite3.sqlite_version_info) and is_local(file)
    report(
        CheckResult(
            "journal", f"it will have {'a write-ahead log' if wal else 'a rollback journal'}, which is safe here"
        )
    )
    _report_filesystem(file, report)


def _report_existing(file: Path, schema: SqliteSchema, connection: sqlite3.Connection, report: Report) -> None:
    with transaction(connection, "BEGIN"):
        version, newest = schema_version(connection, schema), len(schema.migrations)
        mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    state = f"version {version}"
    if version == 0:
        state = "empty; the next start creates the store in it"
    elif version < newest:
        state += f"; the next start migrates it to {newest}, which older programs can't read"
    if version < newest and (obstacles := write_obstacles(str(file))):
        text = f"{file}: {state}. But this user can't write to {' or to '.join(obstacles)}. Change the permissions"
        report(CheckResult("store", text, "failed"))
    else:
        report(CheckResult("store", f"{file}: {state}"))
    if mode != "wal":
        report(CheckResult("journal", "a rollback journal"))
    elif not wal_is_safe(sqlite3.sqlite_version_info):
        text = (
            f"a write-ahead log, which SQLite {sqlite3.sqlite_version} can damage when several processes use it. "
            "Use a Python with SQLite 3.51.3 or newer"
        )
        report(CheckResult("journal", text, "warning"))
    else:
        report(CheckResult("journal", "a write-ahead log, which is safe with this SQLite"))
    _report_filesystem(file, report)


def _report_filesystem(file: Path, report: Report) -> None:
    if MOUNTS.exists() and not is_local(file):
        text = (
            "the file may not be on a local disk. On a network filesystem, locks may fail, and processes may damage "
            "the store. Name a file on a local disk, or use PostgreSQL"
        )
        report(CheckResult("filesystem", text, "warning"))


def _report_permissions(file: Path, report: Report) -> None:
    if obstacles := write_obstacles(str(file)):
        fact = f"this user can't write to {' or to '.join(obstacles)}, so sessions can only be read"
        report(CheckResult("permissions", f"{fact}. Change the permissions", "warning", read_only_text=fact))
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        text = "other users of this machine may open the file. Use `chmod 600` to prevent that"
        report(CheckResult("permissions", text, "warning"))
