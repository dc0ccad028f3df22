"""A file of the operator's that may change while the server runs."""

from collections.abc import Callable
from pathlib import Path
from stat import S_ISFIFO
from typing import Generic, TypeVar

from ...config.settings import BadSetting

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What a file holds, parsed again when the file changes. `flag` is the setting that names it."""

    def __init__(self, flag: str, path: str, parse: Callable[[bytes], T], accepts: str) -> None:
        self.path = Path(path)
        self._named = f"{flag} can't be {path[:80]!r}"
        self._parse = parse
        self._accepts = accepts
        self._seen: tuple[int, ...] = ()
        self._held: T | None = None

    def read(self) -> T:
        """Raises `OSError`, or the `ValueError` of `parse`, also for what could be read before."""
        status = self.path.stat()
        if S_ISFIFO(status.st_mode):
            raise ValueError("a pipe can be read only once")
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._held is None or seen != self._seen:
            self._held = None
            self._held, self._seen = self._parse(self.path.read_bytes()), seen
        return self._held

    def check(self) -> T:
        """The same at the start. Raises `BadSetting` instead."""
        try:
            return self.read()
        except OSError as error:
            reason = (error.strerror or "it can't be read").lower()
        except ValueError:
            reason = "it holds something else"
        raise self.refused(reason)

    def refused(self, reason: str) -> BadSetting:
        return BadSetting(f"{self._named}: {reason}. It accepts {self._accepts}.")
