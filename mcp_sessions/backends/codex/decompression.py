"""Decompresses rollouts that Codex has compressed with Zstandard."""

import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager

from ...errors import BadResponse, Timeout, Unavailable
from ..transcripts.lines import TranscriptFile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK = 1024 * 1024
_MOST_BYTES = 4 * 1024**3


@contextmanager
def decompressed(path: str, stops_at: float) -> Generator[TranscriptFile]:
    """Yield the content of a compressed file, in a temporary file of at most 4 GiB.

    Raise `BadResponse` if it is damaged or larger, `Unavailable` if it can't be read.
    """
    with tempfile.TemporaryFile() as target:
        try:
            with zstd.open(path, "rb") as source:
                while data := source.read(_CHUNK):
                    target.write(data)
                    if target.tell() > _MOST_BYTES:
                        raise BadResponse("the session's file is too large to decompress. Resume the session in Codex.")
                    if time.monotonic() > stops_at:
                        raise Timeout("decompressing the session took too long. Raise the backend's timeout.")
        except (zstd.ZstdError, EOFError) as error:
            raise BadResponse("the session's compressed file is damaged. Restore it from a backup.") from error
        except OSError as error:
            raise Unavailable(f"the session can't be decompressed ({error.strerror}). Check the file.") from error
        target.flush()
        yield TranscriptFile(target.fileno(), target.tell(), stops_at)
