"""The store's file: its permissions, and checks whether it was deleted or replaced while it is open."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import Unavailable, quoted

Identity = tuple[int, int]
NOWHERE: Identity = (0, 0)
"""The identity of no file."""


def file_identity(path: str) -> Identity | None:
    """Return the device and inode of the file that is at a path now, or None if there is none.

    Raise `Unavailable` if that can't be determined. The file is not opened, since closing it would release SQLite's
    locks on it (POSIX).
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast as `Path.stat`, before every call
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unavailable(
            f"the store's file can't be accessed ({error.strerror}); nothing was changed. Check its permissions."
        ) from error
    return found.st_dev, found.st_ino


def refuse_leftover_journal(path: str, *, is_wal: bool) -> None:
    """Raise `Unavailable` if SQLite could replay a journal of the replaced file into the new one.

    `is_wal`: the replaced file was in WAL mode, so every program that still has it open shares its write-ahead log
    (https://sqlite.org/howtocorrupt.html, "unlinked or renamed").
    """
    journal = Path(f"{path}-wal" if is_wal else f"{path}-journal")
    if is_wal or (journal.exists() and journal.stat().st_size):
        name = quoted(journal.name)
        raise Unavailable(
            f"the store's file was replaced while it was in use, and {name} may belong to the old file; nothing was "
            f"changed. Stop every program that uses the store. Then put the new file in place again with its own "
            f"{name}, or delete {name} if the new file has none, and start again."
        )


def write_obstacles(path: str) -> list[str]:
    """Return descriptions of the files and folders that this user can't write to, but must to change a store.

    SQLite creates its journals in the store's folder unless an earlier change left them there. A journal keeps the
    permissions that the file had when the journal was created.
    """
    rollback, log, shared_memory = f"{path}-journal", f"{path}-wal", f"{path}-shm"
    existing = [journal for journal in (rollback, log, shared_memory) if os.access(journal, os.F_OK)]
    obstacles: list[str] = []
    if existing not in ([rollback], [log, shared_memory]) and not os.access(Path(path).parent, os.W_OK | os.X_OK):
        obstacles.append("the folder of the store's file, where SQLite has to create a journal")
    if not os.access(path, os.W_OK):
        obstacles.append("the store's file")
    obstacles += [quoted(Path(journal).name) for journal in existing if not os.access(journal, os.W_OK)]
    return obstacles


@contextmanager
def private_file_mode(path: str) -> Generator[None]:
    """Create the folder of a path. Files created in this context can be opened only by this user.

    Raise `Unavailable` if the folder can't be created.
    """
    # SQLite itself creates the file and its journals, so only the umask can set their mode.
    umask = os.umask(0o077)
    try:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise Unavailable(f"the store's folder can't be created ({error.strerror}). Choose another path.") from error
    finally:
        os.umask(umask)
