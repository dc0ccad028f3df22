"""Check of the SQLite version: whether several processes may share a file in WAL mode."""


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Return whether several processes may share a file in WAL mode with this version of SQLite."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
