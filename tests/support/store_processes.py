"""Processes of their own that work on one store file."""

import ctypes
import multiprocessing
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TypeVarTuple

import anyio

from mcp_sessions.backends.base import SessionBackend

from .store_files import opened

A = TypeVarTuple("A")
PATIENCE = 60  # seconds until a process counts as hanging


def context() -> ForkServerContext:
    """Return a context whose processes fork off one that has imported all of this and opened nothing."""
    made = multiprocessing.get_context("forkserver")
    preloaded = [
        "pytest",  # each process imports the test's module, and with it all of these: in 0.3 s without a preload
        "tests.support.databases",
        "tests.support.stores",
        "asyncio.runners",
        "anyio._backends._asyncio",
        "mcp_sessions.backends.layers.overlay",
        "mcp_sessions.transports.stdio.server",
        "mcp_sessions.server.sessions_server",
    ]
    made.set_forkserver_preload(["__main__", __name__, *preloaded])
    return made


def on_store(path: Path, work: Callable[[SessionBackend, *A], Awaitable[None]], *arguments: *A) -> None:
    """Open the store and do the work, in a process of its own."""

    async def main() -> None:
        async with opened(path) as backend:
            await work(backend, *arguments)

    anyio.run(main)


def run_together(processes: Sequence[ForkServerProcess]) -> None:
    """Start them all and wait; fails if one of them fails."""
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
    assert not hanging
    assert [process.exitcode for process in processes] == [0] * len(processes)


def obey_permissions() -> None:
    """Give up this process's capabilities, on systems that have them."""
    capset = getattr(ctypes.CDLL(None), "capset", None)
    if capset is not None:
        version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert capset(version_3, (ctypes.c_uint32 * 6)()) == 0
