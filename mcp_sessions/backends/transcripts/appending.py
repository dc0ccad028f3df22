"""Appending lines to a transcript to which other programs append too."""

import json
import os
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ...errors import Conflict, NotFound, Unavailable
from ...json_documents import JsonObject
from ..transcript_feed import FileState
from .lines import open_transcript

_CHANGED = "another program changed the session's file meanwhile. Read the session again, then repeat the change."
_READ_BACK_SECONDS = 5


def encoded_line(fields: JsonObject) -> bytes:
    """Return a line as compact JSON, with its line break. A number that JSON can't express becomes null."""
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        finite: object = json.loads(json.dumps(fields), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair stays escaped
        return json.dumps(json.loads(text), separators=(",", ":")).encode() + b"\n"


def append_lines(path: str, lines: Sequence[JsonObject], *, after: FileState | None = None) -> None:
    """Append lines in one write, and read them back.

    The write begins with a line break if the last line lacks one, so that a line that was cut off stays alone. Raise
    `NotFound` if there is no file, `Conflict` if it is not in the state `after` or is replaced meanwhile, and
    `Unavailable` if it can't be written.
    """
    data = b"".join(map(encoded_line, lines))
    with _opened_to_append(path) as descriptor:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            raise NotFound("there is no transcript of this session. Call list_sessions for valid ids.")
        if after is not None and after != FileState(found.st_ino, found.st_size, found.st_mtime_ns):
            raise Conflict(_CHANGED)
        os.lseek(descriptor, -1, os.SEEK_END)
        if os.read(descriptor, 1) != b"\n":
            data = b"\n" + data
        written = os.write(descriptor, data)
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if written < len(data):
            raise Unavailable("the disk is full, and the change was not written whole. Make room, then repeat it.")
        os.fsync(descriptor)
    with open_transcript(path, time.monotonic() + _READ_BACK_SECONDS) as transcript:
        is_same = os.fstat(transcript.descriptor).st_ino == found.st_ino
        if not is_same or transcript.read(end - written, written) != data:
            raise Conflict(_CHANGED)


@contextmanager
def _opened_to_append(path: str) -> Generator[int]:
    """Open a file to append to it. It is not created, and a pipe in its place is not waited for."""
    descriptor = -1
    try:
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        yield descriptor
    except FileNotFoundError as error:
        raise NotFound("the transcript of this session is gone. Call list_sessions for valid ids.") from error
    except OSError as error:
        raise Unavailable(
            f"the transcript can't be written ({error.strerror}). Check the file's permissions and the disk."
        ) from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
