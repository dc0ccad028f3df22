"""The server that makes changes in a database: started for the first change, and ended after the last one."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from ...errors import SessionsError, Unavailable
from .backend import OpencodeBackend
from .server_process import ServerProcess, run_server

_IDLE_SECONDS = 10
"""How long a server is kept for the next change, since starting one takes a second or two."""
_PAUSE = 0.5


class _ServerRun:
    """One run of the server. `backend` is None until the server has started, and if it could not start."""

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.backend: OpencodeBackend | None = None
        self.error: SessionsError = Unavailable("opencode did not start in time, so nothing was changed. Try again.")
        self.users = 0
        self.last_used = anyio.current_time()


class ServerOnDemand:
    """A server for the database in `data_home`. Enter `open` once.

    `program` is opencode, and `connect` returns a backend for a server, not yet entered.
    """

    def __init__(self, program: str, data_home: Path, connect: Callable[[ServerProcess], OpencodeBackend]) -> None:
        self._program = program
        self._data_home = data_home
        self._connect = connect
        self._run: _ServerRun | None = None
        self._open_state: tuple[TaskGroup, Context] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Let `use` start a server; it is ended at the end."""
        async with anyio.create_task_group() as tasks:
            self._open_state = tasks, copy_context()  # the server outlives the call that starts it, and its deadline
            try:
                yield
            finally:
                self._open_state = None
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def use(self, seconds: float) -> AsyncGenerator[OpencodeBackend]:
        """Keep a server running, and return the backend for it. Raise `Unavailable` if it does not start in time."""
        run = self._run or self._start()
        run.users += 1
        try:
            with anyio.move_on_after(seconds):
                await run.ready.wait()
            if run.backend is None:
                raise run.error
            yield run.backend
        finally:
            run.users -= 1
            run.last_used = anyio.current_time()

    def _start(self) -> _ServerRun:
        if self._open_state is None:
            raise Unavailable("the backend is not open.")
        tasks, context = self._open_state
        run = self._run = _ServerRun()
        context.copy().run(tasks.start_soon, self._serve, run)
        return run

    async def _serve(self, run: _ServerRun) -> None:
        try:
            async with run_server(self._program, self._data_home) as server, self._connect(server) as backend:
                run.backend = backend
                run.ready.set()
                while not server.has_ended and self._is_needed(run, backend):  # noqa: ASYNC110 - no event says that it ended
                    await anyio.sleep(_PAUSE)
                self._run = None  # before the server ends, so that the next change starts another one
        except SessionsError as error:
            run.error = error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            run.error = Unavailable(f"opencode could not be started ({reason}), so nothing was changed. Try again.")
        finally:
            if self._run is run:
                self._run = None
            run.ready.set()

    def _is_needed(self, run: _ServerRun, backend: OpencodeBackend) -> bool:
        return run.users > 0 or backend.watches_names or anyio.current_time() < run.last_used + _IDLE_SECONDS
