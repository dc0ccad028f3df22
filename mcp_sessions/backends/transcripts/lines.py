"""Reads a transcript line by line, from either end, whatever its lines contain.

Lines end with `\n` and nothing else, since U+2028 and other line breaks stand unescaped in JSON strings. A line that is
no JSON object is skipped: a process was killed while it wrote the line, or the file was damaged.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic_core import from_json

from ...errors import NotFound, Timeout, Unavailable
from ...json_documents import JsonObject, is_object

_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024 * 1024


class Line(NamedTuple):
    """A line without its line break, and where it begins in the file."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


def parse(data: bytes) -> JsonObject | None:
    """Return the JSON object in a line, or None if there is none. Bytes that are not UTF-8 become U+FFFD.

    If an object has a key twice, the last one counts.
    """
    try:
        value = from_json(data, cache_strings="keys")
    except ValueError:  # it refuses some lines that `json` can read, such as those with half of a surrogate pair
        try:
            value = json.loads(data.decode(errors="replace"))
        except (ValueError, RecursionError):
            return None
    return value if is_object(value) else None


@dataclass(slots=True)
class TranscriptFile:
    """An open transcript, with the size that it had when it was opened. What is appended later is not read.

    `stops_at` is the time of `time.monotonic` after which reading raises `Timeout`. `oversized_lines` counts the lines
    that were skipped because they are longer than 64 MiB.
    """

    descriptor: int
    size: int
    stops_at: float
    oversized_lines: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset: fewer at the end of the file."""
        if time.monotonic() > self.stops_at:
            raise Timeout("reading the transcript took too long. Raise the backend's timeout, or ask for less.")
        os.lseek(self.descriptor, offset, os.SEEK_SET)  # `os.pread` is missing on Windows
        return os.read(self.descriptor, max(min(length, self.size - offset), 0))

    def forward(self, start: int = 0, end: int | None = None, *, containing: Sequence[bytes] = ()) -> Iterator[Line]:
        """Yield the lines that begin at or after `start`, which is the beginning of a line, and before `end`.

        Of lines that have none of the texts `containing`, leave out most.
        """
        stop = self.size if end is None else min(end, self.size)
        pieces: list[bytes | None] = []
        begin = position = start
        while begin < stop and (data := self.read(position, _CHUNK)):
            used = 0
            is_wanted = not containing or any(text in data for text in containing)
            while begin < stop and (newline := data.find(b"\n", used)) >= 0:
                if is_wanted or pieces:
                    yield from self._joined(begin, [*pieces, data[used:newline]])
                pieces, used = [], (newline if is_wanted else data.rfind(b"\n")) + 1
                begin = position + used
            pieces = _limited([*pieces, data[used:]])
            position += len(data)
        if begin < stop:
            yield from self._joined(begin, pieces)

    def backward(
        self, end: int | None = None, *, ignored: Callable[[bytes], object] = lambda line: False
    ) -> Iterator[Line]:
        """Yield the lines before `end`, the last one first. `end` is the beginning or the end of a line.

        Leave out the lines for which `ignored` returns a true value.
        """
        position = self.size if end is None else min(end, self.size)
        pieces: list[bytes | None] = []  # the parts of a line whose beginning is not read yet, the last one first
        while position > 0:
            start = max(position - _CHUNK, 0)
            data = self.read(start, position - start)
            stop = len(data)
            while (newline := data.rfind(b"\n", 0, stop)) >= 0:  # faster than `split` if there are few lines
                offset, line = start + newline + 1, data[newline + 1 : stop]
                if pieces:
                    joined = self._joined(offset, [line, *reversed(pieces)])
                    yield from (whole for whole in joined if not ignored(whole.data))
                    pieces = []
                elif line and not ignored(line):
                    yield Line(offset, line)
                stop = newline
            pieces = _limited([*pieces, data[:stop]])
            position = start
        yield from (line for line in self._joined(0, pieces[::-1]) if not ignored(line.data))

    def line_at(self, offset: int) -> Line | None:
        """Return the line that begins at an offset, or None if no line begins there."""
        if not 0 <= offset < self.size or (offset and self.read(offset - 1, 1) != b"\n"):
            return None
        return next(self.forward(offset, offset + 1), None)

    def _joined(self, offset: int, pieces: list[bytes | None]) -> Iterator[Line]:
        data = b"".join(piece for piece in pieces if piece)
        if None in pieces:
            self.oversized_lines += 1
        elif data:
            yield Line(offset, data)


def _limited(pieces: list[bytes | None]) -> list[bytes | None]:
    """Return the pieces of a line, or only None if the line is too long, so that memory use stays limited."""
    known = [piece for piece in pieces if piece is not None]
    return pieces if len(known) == len(pieces) and sum(map(len, known)) <= _LONGEST_LINE else [None]


@contextmanager
def open_transcript(path: Path | str, stops_at: float) -> Generator[TranscriptFile]:
    """Open a transcript for reading. Raise `NotFound` if there is none, `Unavailable` if it can't be read."""
    descriptor = -1
    try:
        # Non-blocking, since opening a pipe that somebody put there would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotFound("there is no transcript of this session. Call list_sessions for valid ids.")
        yield TranscriptFile(descriptor, found.st_size, stops_at)
    except FileNotFoundError as error:
        raise NotFound("the transcript of this session is gone. Call list_sessions for valid ids.") from error
    except OSError as error:
        raise Unavailable(f"the transcript can't be read ({error.strerror}). Check the file's permissions.") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
