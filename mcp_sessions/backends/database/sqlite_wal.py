"""Checks of the SQLite version and the filesystem: whether several processes may share a file in WAL mode."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_LOCAL_FILESYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "bcachefs"})


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Return whether several processes may share a file in WAL mode with this version of SQLite."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def is_local(path: Path, mounts: Path = MOUNTS) -> bool:
    """Return whether a path is on a local filesystem, by Linux's mount table. On other systems, return False."""
    if not mounts.exists():
        return False
    path = path.resolve()
    best, best_filesystem = "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        _, point, filesystem, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if len(point) >= len(best) and path.is_relative_to(point):
            best, best_filesystem = point, filesystem
    return best_filesystem in _LOCAL_FILESYSTEMS
