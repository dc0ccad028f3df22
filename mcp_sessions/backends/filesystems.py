"""Whether files are on this machine, so that its locks on them hold and its kernel sees each change to them."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "bcachefs"})


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
    return best_filesystem in _LOCAL
