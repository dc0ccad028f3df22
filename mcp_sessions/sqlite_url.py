"""Conversion between the path of a SQLite file and its `sqlite:///PATH` URL.

A percent-encoded byte in the URL stands for the same byte in the path, whatever the locale.
"""

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

_PREFIX = "sqlite:///"


def path_of(url: str) -> str:
    """Return the path in a `sqlite:///PATH` URL, or "" if the URL has another form."""
    path = url.removeprefix(_PREFIX).partition("?")[0]
    return os.fsdecode(unquote_to_bytes(path)) if url.startswith(_PREFIX) else ""


def url_of(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return _PREFIX + quote(os.fsencode(path.as_posix()))
