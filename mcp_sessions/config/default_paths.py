"""Where files are by default: in the folders that the operating system has for a user's data and caches."""

from pathlib import Path

from platformdirs import user_cache_dir, user_data_dir

from ..sqlite_url import url_of


def url_in_data_folder(name: str) -> str:
    """Return the SQLite URL of a file that holds a user's data."""
    return url_of(Path(user_data_dir("mcp-sessions", appauthor=False)) / name)


def path_in_cache_folder(name: str) -> str:
    """Return the path of a file that can be rebuilt."""
    return str(Path(user_cache_dir("mcp-sessions", appauthor=False)) / name)
