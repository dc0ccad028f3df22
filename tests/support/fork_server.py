"""Starts servers as forks of one process that has imported everything, since importing takes a second of each start.

A fork has a process, streams, environment and working directory of its own, as a process started from a shell has.
Tests of the start itself, of interpreter settings and of a process's memory start real processes instead.
"""

import atexit
import gc
import marshal
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from threading import Timer
from types import FrameType

from mcp_sessions.server.call import SessionTool
from mcp_sessions.tools import TOOLSETS

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "mcp_sessions.backends.agentos",
    "mcp_sessions.backends.guayaba",
    "mcp_sessions.backends.sql",
    "mcp_sessions.cli.main",
    "mcp_sessions.cli.serve",
    "mcp_sessions.config.build",
    "mcp_sessions.server.sessions_server",
    "mcp_sessions.transports.http.server",
    "mcp_sessions.transports.stdio.server",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.lifespan.on",
)


_START_SECONDS = 60


def forked(*arguments: str) -> list[str]:
    """Return the command that starts Python with these arguments (`-m MODULE …` or `SCRIPT …`) as a fork."""
    launcher = Path(__file__).with_name("fork_launcher.py")
    return [sys.executable, "-I", "-S", str(launcher), _socket(), *arguments]


@cache
def _socket() -> str:
    """Start the fork server of this test process, and return the path of its socket."""
    folder = Path(mkdtemp(prefix="forks-"))
    path = folder / "socket"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )
    atexit.register(_end, process, path)
    assert process.stdout is not None
    overdue = Timer(_START_SECONDS, process.kill)
    overdue.start()
    line = process.stdout.readline()
    overdue.cancel()
    assert line, "the fork server did not start"
    return str(path)


def _end(process: "subprocess.Popen[bytes]", path: Path) -> None:
    process.communicate()
    path.unlink(missing_ok=True)
    path.parent.rmdir()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Let the signal do nothing but wake the server."""


class ForkServer:
    """Listens on a Unix socket: one connection for each fork, which carries signals one way and the status back."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(128)
        self._wakeup, self._woken_by = socket.socketpair()
        self._woken_by.setblocking(False)
        signal.set_wakeup_fd(self._woken_by.fileno())
        signal.signal(signal.SIGCHLD, _ignore)
        self._connections: dict[int, socket.socket] = {}

    def serve(self) -> list[str]:
        """Return the arguments to run in each fork; in the server itself, exit at the end of stdin."""
        while True:
            ready, _, _ = select.select([0, self._listener, self._wakeup, *self._connections.values()], [], [])
            for connection, pid in [(made, pid) for pid, made in self._connections.items() if made in ready]:
                for number in connection.recv(64) or [signal.SIGKILL]:  # at the end: its launcher was killed
                    os.kill(pid, number)
            if self._wakeup in ready:
                self._wakeup.recv(4096)
                self._report_ended()
            if self._listener in ready and (arguments := self._fork()):
                return arguments
            if 0 in ready:
                for pid in self._connections:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)

    def _fork(self) -> list[str] | None:
        """Return the arguments in the new fork, None in the server."""
        connection, _ = self._listener.accept()
        head, streams, _, _ = socket.recv_fds(connection, 4, 3)
        request = b""
        while len(request) < int.from_bytes(head, "big"):
            request += connection.recv(65536)
        pid = os.fork()
        if pid:
            self._connections[pid] = connection
            for stream in streams:
                os.close(stream)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (self._listener, self._wakeup, self._woken_by, connection, *self._connections.values()):
            other.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        arguments, folder, environment = marshal.loads(request)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        return arguments

    def _report_ended(self) -> None:
        """Send the launchers of ended forks their exit status."""
        while self._connections:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self._connections.pop(pid) as connection, suppress(OSError):  # a launcher may have been killed
                connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))


def main() -> None:
    for module in IMPORTED:
        import_module(module)
    for spec in (spec for toolset in TOOLSETS for spec in toolset.specs):
        SessionTool.from_spec(spec)
    server = ForkServer(sys.argv[1])
    gc.freeze()
    os.write(1, b"ready\n")
    status = _status_of(server.serve())
    # As Python ends, but without freeing all that is imported, which would copy most of the fork server's memory.
    threading._shutdown()  # pyright: ignore - Python has no public name for it
    atexit._run_exitfuncs()  # pyright: ignore - the same
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status_of(arguments: list[str]) -> int:
    """Run what Python was asked to run, and return the status that Python would end with."""
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
