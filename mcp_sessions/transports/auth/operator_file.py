"""A file that the operator may change while the server runs."""

from collections.abc import Callable
from pathlib import Path
from stat import S_ISFIFO
from typing import Generic, TypeVar

from ...config.settings import BadSetting

T = TypeVar("T")


class OperatorFile(Generic[T]):
    """The parsed content of a file, parsed again when the file changes. `flag` is the setting that names the file."""

    def __init__(self, flag: str, path: str, parse: Callable[[bytes], T], accepts: str) -> None:
        self.path = Path(path)
        self._problem = f"{flag} can't be {path[:80]!r}"
        self._parse = parse
        self._accepts = accepts
        self._version: tuple[int, ...] = ()
        self._content: T | None = None

    def read(self) -> T:
        """Return the current content. Raise `OSError`, or the `ValueError` of `parse`."""
        status = self.path.stat()
        if S_ISFIFO(status.st_mode):
            raise ValueError("a pipe can be read only once")
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._content is None or version != self._version:
            self._content = None  # so that the file is read again if reading or parsing fails
            self._content, self._version = self._parse(self.path.read_bytes()), version
        return self._content

    def check(self) -> T:
        """Return the content, or raise `BadSetting` if it can't be read or parsed."""
        try:
            return self.read()
        except OSError as error:
            reason = (error.strerror or "it can't be read").lower()
        except ValueError:
            reason = "its content is malformed"
        raise self.bad_setting(reason)

    def bad_setting(self, reason: str) -> BadSetting:
        return BadSetting(f"{self._problem}: {reason}. It accepts {self._accepts}.")
