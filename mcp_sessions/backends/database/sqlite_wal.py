"""Where SQLite's write-ahead log is safe for several processes, by its version and the filesystem."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_LOCAL_FILESYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "bcachefs"})


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether several processes may share a WAL file with this SQLite."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def is_local(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether a filesystem is known to be of this machine, by Linux's mount table; elsewhere nothing is known."""
    if not mounts.exists():
        return False
    path = path.resolve()
    best, kind = "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        _, point, filesystem, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, filesystem
    return kind in _LOCAL_FILESYSTEMS
