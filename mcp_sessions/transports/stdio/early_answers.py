"""Answers a client's first requests from the answer cache, in a thread, while the main thread loads the SDK."""

import json
import os
import select
import stat
import sys
import threading
from typing import Any, TypeGuard

from .answer_cache import MAX_REQUESTS, AnswerCache, RequestKeys, Result

_MAX_READ = 256 * 1024
_READ_SIZE = 65536
_CHUNK = 4096  # PIPE_BUF: if a pipe accepts any bytes, it accepts so many without blocking
_MAX_ID = 2**53
_OPENING_SECONDS = 0.2


def can_answer_early() -> bool:
    """Return whether stdin and stdout are pipes or sockets, as clients start a server."""
    if sys.platform == "win32":
        return False
    try:
        modes = [os.fstat(descriptor).st_mode for descriptor in (0, 1)]
    except OSError:
        return False
    return all(stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) for mode in modes)


class EarlyAnswers:
    """The first part of a connection, until `stop`: what was received, and what was sent.

    `received`: all bytes from the client. `sent`: the result sent for each request's id. `unsent`: the rest of the last
    answers, if the client didn't read them yet.
    """

    def __init__(self, cache: AnswerCache) -> None:
        self.cache = cache
        self.received = b""
        self.unsent = b""
        self.sent: dict[str | int, Result] = {}
        self._answers = cache.answers
        self._keys = RequestKeys()
        self._lines_left = MAX_REQUESTS
        self._partial = b""
        self._ids: set[str | int] = set()
        self._is_opening_over = False
        self._thread: threading.Thread | None = None
        self._needs_server = threading.Event()

    def start(self, source: int = 0, sink: int = 1) -> None:
        """Begin to answer on these descriptors, if there are stored answers."""
        if not self._answers:
            return
        try:
            # Descriptors of its own, since those of the process are changed before `stop`.
            self._source, self._sink = os.dup(source), os.dup(sink)
            self._stopped, self._stopper = os.pipe()
        except OSError:
            return  # too many are open; the server answers all
        self._thread = threading.Thread(target=self._run, name="early answers", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the tools are listed, or a message arrives that only the server can answer, but not for long.

        Loading the server before would delay the answers, also those of other servers that start at the same time.
        """
        if self._thread is not None:
            self._needs_server.wait(_OPENING_SECONDS)

    def stop(self) -> None:
        """Answer what has arrived, and end the thread: from now on, it neither reads nor writes."""
        if self._thread is None:
            return
        os.close(self._stopper)
        self._thread.join()
        self._thread = None
        for descriptor in (self._source, self._sink, self._stopped):
            os.close(descriptor)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._needs_server.set()

    def _serve(self) -> None:
        while True:
            poll = select.poll()
            poll.register(self._stopped, select.POLLIN)
            if self._lines_left:
                poll.register(self._source, select.POLLIN)
            if self.unsent:
                poll.register(self._sink, select.POLLOUT)
            ready = {descriptor for descriptor, _ in poll.poll()}
            try:
                if self._source in ready:
                    self._receive(os.read(self._source, _READ_SIZE))
                if self._sink in ready:
                    self.unsent = self.unsent[os.write(self._sink, self.unsent[:_CHUNK]) :]
                if self._is_opening_over and not self.unsent:
                    self._needs_server.set()
            except BlockingIOError:
                pass  # another process that shares stdin or stdout was faster
            except OSError:
                return  # the client is gone, which the server finds out itself
            if self._stopped in ready:
                return

    def _receive(self, chunk: bytes) -> None:
        self.received += chunk
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            if self._lines_left and line.strip():
                self._lines_left -= 1
                self._answer(line)
        if not chunk or len(self.received) > _MAX_READ:
            self._lines_left = 0
        if not self._lines_left:
            self._is_opening_over = True

    def _answer(self, line: bytes) -> None:
        frame = _read(line)
        if frame is None or frame.get("id") in self._ids:
            # Leave an unusual message, and everything after it, to the server.
            self._lines_left = 0
            return
        request_id = frame.get("id")
        if request_id is None:
            return
        self._ids.add(request_id)
        method = frame["method"]
        result = self._answers.get(self._keys.key_of(method, frame.get("params")))
        if result is None or method == "tools/list":
            self._is_opening_over = True
        if result is not None:
            self.sent[request_id] = result
            answer = {"jsonrpc": "2.0", "id": request_id, "result": result}
            self.unsent += json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _read(line: bytes) -> dict[str, Any] | None:
    """Return the request or notification in a line, or None if there may be anything unusual about it."""
    try:
        frame: object = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not _is_object(frame) or not frame.keys() <= {"jsonrpc", "id", "method", "params"}:
        return None
    is_valid = (
        frame.get("jsonrpc") == "2.0"
        and isinstance(frame.get("method"), str)
        and isinstance(frame.get("params", {}), dict)
        and ("id" not in frame or _is_plain_id(frame["id"]))
    )
    return frame if is_valid else None


def _is_plain_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 200 and value.isprintable()  # half of a surrogate pair isn't printable
    return type(value) is int and abs(value) < _MAX_ID


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
