"""A check whether a file or folder can be written to, which changes nothing."""

import errno
import os
from pathlib import Path


def write_problem(path: Path) -> str:
    """Return why this user can't write to a file or folder, or create it and its folders; "" if they can."""
    existing = path
    while not os.path.exists(existing):  # noqa: PTH110 - Path.exists raises for a name that is too long
        existing = existing.parent
    if existing != path and not existing.is_dir():
        return os.strerror(errno.ENOTDIR)
    if os.access(existing, os.W_OK | os.X_OK if existing.is_dir() else os.W_OK):
        return ""
    return os.strerror(errno.EACCES)
