"""A server of opencode that this process starts for changes, and that can't outlive it.

The server and its children are a process group of their own, whose leader is a shell. The shell waits for the end of a
pipe that only this process has open for writing. If this process is killed, the pipe ends, and the shell ends the
group. The server's home, configuration and working folder are temporary: it needs no plugins, installs no packages,
and starts no other programs.
"""

import json
import os
import secrets
import signal
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio
from anyio.abc import Process

from ...errors import Unavailable

_SHELL = "/bin/sh"
_SUPERVISOR = (
    '{ "$@" </dev/null >output 2>/dev/null; kill -KILL 0; } & '
    'read -r line; trap "" TERM; kill -TERM 0; sleep 3; kill -KILL 0'
)
_START_SECONDS = 60
"""Longer than a call waits, so that a later call finds the server started."""
_END_SECONDS = 3
_PAUSE = 0.05
_SWITCHES = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD")


class ServerProcess(NamedTuple):
    """A server that accepts connections."""

    origin: str
    password: str
    process: Process

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None


@asynccontextmanager
async def run_server(program: str, data_home: Path) -> AsyncGenerator[ServerProcess]:
    """Start a server for the database in `data_home`, on a free port of 127.0.0.1, and end it.

    Raise `Unavailable` if it does not start.
    """
    with TemporaryDirectory(prefix="mcp-sessions-", ignore_cleanup_errors=True) as folder:
        password, port = secrets.token_urlsafe(32), _free_port()
        command = [program, "serve", "--hostname", "127.0.0.1", "--port", str(port)]
        environment = _environment(os.environ, Path(folder), data_home) | {"OPENCODE_SERVER_PASSWORD": password}
        prevent_installation(Path(environment["XDG_CONFIG_HOME"]) / "opencode")
        process, lifeline = await _start(command, environment, folder)
        try:
            origin = f"http://127.0.0.1:{port}"
            await _wait_until_ready(process, anyio.Path(folder) / "output", origin)
            yield ServerProcess(origin, password, process)
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await _end(process)
            finally:
                os.close(lifeline)


def prevent_installation(configuration: Path) -> None:
    """Make a new configuration folder look as if opencode had installed its package for plugins there.

    Else it downloads that package and what the package needs, which takes ten seconds of processor time. Measured
    with opencode 1.15.13 and 1.18.33.
    """
    (configuration / "node_modules").mkdir(parents=True)
    packages = {"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
    (configuration / "package-lock.json").write_text(json.dumps(packages), encoding="utf-8")


async def _start(command: list[str], environment: Mapping[str, str], folder: str) -> tuple[Process, int]:
    """Return the supervisor of a program, and the pipe that must stay open."""
    read, lifeline = os.pipe()
    try:
        process = await anyio.open_process(
            [_SHELL, "-c", _SUPERVISOR, _SHELL, *command],
            stdin=read,
            stdout=DEVNULL,
            stderr=DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    except BaseException as error:
        os.close(lifeline)
        if isinstance(error, OSError):
            raise _not_started() from error
        raise
    finally:
        os.close(read)
    return process, lifeline


async def _wait_until_ready(process: Process, output: anyio.Path, origin: str) -> None:
    """Wait until the server says that it listens at `origin`: another program may have taken the port."""
    ready = f"listening on {origin}".encode()
    with anyio.move_on_after(_START_SECONDS):
        while process.returncode is None:
            if await output.exists() and ready in await output.read_bytes():
                return
            await anyio.sleep(_PAUSE)
    raise _not_started()


async def _end(process: Process) -> None:
    """Ask the group to end, then kill what is left of it."""
    if _signal_group(process, signal.SIGTERM):
        with anyio.move_on_after(_END_SECONDS):
            while _signal_group(process, 0):  # noqa: ASYNC110 - nothing tells of the end of grandchildren
                await anyio.sleep(_PAUSE)
        _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: Process, number: int) -> bool:
    """Send a signal to the group. Return whether it has any processes."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses it for a group of which only zombies are left
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(given: Mapping[str, str], folder: Path, data_home: Path) -> dict[str, str]:
    """Return the environment of the server, without settings and credentials of ours and of a client opencode."""
    kept = {name: text for name, text in given.items() if not name.startswith(("OPENCODE_", "MCP_SESSIONS_", "XDG_"))}
    own = {name: str(folder / name) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    switches = {f"OPENCODE_DISABLE_{name}": "1" for name in _SWITCHES}
    return kept | own | switches | {"XDG_DATA_HOME": str(data_home)}


def _not_started() -> Unavailable:
    return Unavailable(
        "opencode could not be started to make the change, so nothing was changed. Run opencode serve to see why."
    )
