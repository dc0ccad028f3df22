"""A file of answers that are the same at every start, so that the next start can send them before the SDK is loaded."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

CACHED_METHODS = frozenset({"initialize", "server/discover", "tools/list", "prompts/list", "resources/templates/list"})
"""Requests whose answers depend only on the settings and the versions of the installed packages, never on sessions."""
MAX_REQUESTS = 32
"""How many of a connection's first messages may be answered from the file, and have their answers stored in it."""
MAX_SIZE = 1024 * 1024
_MAX_ANSWERS = 24
_MAX_FILES = 32

Result = dict[str, Any]


class RequestKeys:
    """Derives the keys of the requests of one connection: hashes of a request and of the handshake before it."""

    def __init__(self) -> None:
        self._handshake: object = None

    def key_of(self, method: str, params: Mapping[str, Any] | None) -> str:
        """Return the request's key, or "" if its answer is never stored. Call this for each request, in order."""
        if method == "initialize":
            self._handshake = params
        if method not in CACHED_METHODS:
            return ""
        request = json.dumps([self._handshake, method, _without_progress_token(params)], sort_keys=True)
        return hashlib.sha256(request.encode()).hexdigest()


def _without_progress_token(params: Mapping[str, Any] | None) -> object:
    # Some clients number their progress tokens, and none of these requests reports progress.
    meta = (params or {}).get("_meta")
    if params is None or not _is_object(meta) or type(meta.get("progressToken")) is not int:
        return params
    return {**params, "_meta": {name: value for name, value in meta.items() if name != "progressToken"}}


class AnswerCache:
    """The answers to requests, by their keys, in a file that only its owner can read.

    `version` identifies the installed packages. The answers of another version, and a file that is damaged, too large
    or somebody else's, are ignored and replaced. A file that can't be written is left alone: the cache only saves time.
    """

    def __init__(self, path: Path, version: str) -> None:
        self._path = path
        self._version = version
        self.answers = self._load()

    def update(self, key: str, result: Result | None) -> None:
        """Store an answer, or with None remove it, and write the file if that changes it."""
        if self.answers.get(key) == result:
            return
        # Another server with the same settings may have written since.
        self.answers = self._load()
        self.answers.pop(key, None)
        if result is not None:
            self.answers[key] = result
        self._write()

    def remove(self) -> None:
        """Remove the file."""
        self.answers = {}
        with suppress(OSError):
            self._path.unlink()

    def _load(self) -> dict[str, Result]:
        try:
            return self._parse(_read_private(self._path))
        except (OSError, ValueError, RecursionError):
            return {}

    def _parse(self, content: bytes) -> dict[str, Result]:
        digest, _, body = content.partition(b"\n")
        if digest != _digest(body):
            return {}
        stored: object = json.loads(body.decode())
        if not _is_object(stored) or stored.get("version") != self._version:
            return {}
        answers = stored.get("answers")
        if not _is_object(answers):
            return {}
        return {key: result for key, result in answers.items() if _is_object(result)}

    def _write(self) -> None:
        newest = list(self.answers.items())[-_MAX_ANSWERS:]
        body = json.dumps({"version": self._version, "answers": dict(newest)}, separators=(",", ":")).encode()
        content = _digest(body) + b"\n" + body
        if len(content) > MAX_SIZE:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                _remove_oldest(self._path.parent)
            _replace(self._path, content)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _read_private(path: Path) -> bytes:
    """Return the content of a file that only this user can have written. Raise `ValueError` or `OSError` otherwise."""
    # Without O_NONBLOCK, opening a named pipe would wait for its writer.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise ValueError("the file may be somebody else's")
        return file.read(MAX_SIZE)


def _replace(path: Path, content: bytes) -> None:
    """Write the file in one step: a reader, also after a crash, sees the old content or the new."""
    new = path.with_suffix(f".{os.urandom(8).hex()}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(content)
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _remove_oldest(folder: Path) -> None:
    """Make room for one more file. This also removes what processes left behind that ended while they wrote."""
    files = [file for file in folder.iterdir() if file.is_file()]
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[_MAX_FILES - 1 :]:
        file.unlink(missing_ok=True)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
