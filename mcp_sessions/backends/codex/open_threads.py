"""The threads that a running Codex has open. Codex locks a file for each of them, since version 0.147."""

import os
import sys
from pathlib import Path

if sys.platform == "win32":

    def _is_locked(descriptor: int) -> bool:
        return False  # not known

else:
    import fcntl

    def _is_locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False


def is_open(home: Path, thread_id: str) -> bool:
    """Return whether a process has a thread open, as far as that can be told. The lock's file may outlive it."""
    path = home / "thread-writer-locks" / f"{thread_id}.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        return _is_locked(descriptor)
    finally:
        os.close(descriptor)
