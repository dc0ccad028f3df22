"""What a test observes of files: their states before and after, and what Python does with files and processes."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

Event = tuple[str, str]
"""An audit event and its first argument, such as a path."""
PROCESS_EVENTS = ("subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.system")


def states_in(root: Path) -> dict[Path, tuple[int, int, int, bytes]]:
    """Return the modes, times, sizes and contents of all files and folders.

    Times of a change of the owner are left out: SQLite sets the owner of a database's log, which it has already, if it
    is run by root.
    """
    found: dict[Path, tuple[int, int, int, bytes]] = {}
    for path in sorted([root, *root.rglob("*")]):
        stat = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[path] = (stat.st_mode, stat.st_mtime_ns, stat.st_size, data)
    return found


_watchers: list[list[Event]] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    for events in _watchers:
        events.append((event, str(arguments[0]) if arguments else ""))


@cache
def _install() -> None:
    """Add the hook, once, since it can't be removed. It has nothing to do outside of `watched`."""
    sys.addaudithook(_record)


@contextmanager
def watched() -> Generator[list[Event]]:
    """Collect what Python does with files and processes."""
    _install()
    events: list[Event] = []
    _watchers.append(events)
    try:
        yield events
    finally:
        _watchers.remove(events)
