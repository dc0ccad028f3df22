"""A child process that communicates over stdin and stdout, and that can't outlive this process.

The program and its children are a process group of their own, whose leader is a shell. The shell waits for the end of
a pipe that only this process has open for writing. If this process is killed, the pipe ends, and the shell gives the
program some seconds to end by itself before it kills the group.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

_SHELL = "/bin/sh"
_SUPERVISOR = '"$@" <&2 2>/dev/null & exec >/dev/null 2>&1; read -r line; sleep 5; kill -9 0'
"""The shell reads the pipe as its stdin. The program's stdin is passed as the shell's stderr, since a shell can't name
other descriptors portably, and nobody reads what the program writes to its own stderr."""
_MOST_BYTES = 64 * 1024 * 1024
_SECONDS_TO_END = 3.0


class ProgramEnded(Exception):
    """The program has ended, or closed its stdout."""


class ChildProcess:
    """A running program. Only one task at a time may use it."""

    def __init__(self, process: Process, stdin: int, lifeline: int) -> None:
        self._process = process
        self._stdin = stdin
        self._lifeline = lifeline
        assert process.stdout is not None
        self._stdout = BufferedByteReceiveStream(process.stdout)
        self._is_closed = False

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], folder: str) -> "ChildProcess":
        """Start a program in a folder. Raise `OSError` if that fails."""
        stdin, lifeline = os.pipe(), os.pipe()
        try:
            process = await anyio.open_process(
                [_SHELL, "-c", _SUPERVISOR, _SHELL, *command],
                stdin=lifeline[0],
                stderr=stdin[0],
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(stdin[1])
            os.close(lifeline[1])
            raise
        finally:
            os.close(stdin[0])
            os.close(lifeline[0])
        os.set_blocking(stdin[1], False)  # a program that reads nothing must not stop this process
        return cls(process, stdin[1], lifeline[1])

    def send(self, line: bytes) -> None:
        """Send a line, which must be short. Raise `ProgramEnded` if the program does not read it."""
        try:
            os.write(self._stdin, line + b"\n")
        except OSError as error:
            raise ProgramEnded from error

    async def receive(self) -> bytes:
        """Return the next line of the program's output. Raise `ProgramEnded` if there is none."""
        try:
            return await self._stdout.receive_until(b"\n", _MOST_BYTES)
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.ClosedResourceError) as error:
            raise ProgramEnded from error

    async def close(self) -> None:
        """Let the program end, then kill what is left of its group."""
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            os.close(self._stdin)
            with anyio.move_on_after(_SECONDS_TO_END), suppress(ProgramEnded):
                while True:
                    await self.receive()
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            os.close(self._lifeline)
            await self._process.aclose()
