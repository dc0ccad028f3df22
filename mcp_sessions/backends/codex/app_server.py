"""A client of `codex app-server`, the interface through which Codex changes threads.

Requests and responses are lines of JSON. The protocol has no versions of its own: Codex names its version when it is
started. Errors of all kinds have the same code, so callers check what they can before a request.
"""

import json
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from ...errors import BadResponse, Unavailable
from ...json_documents import JsonObject, is_object, object_in
from ..transcripts.lines import parse
from ..transcripts.values import text_in
from .child_process import ChildProcess, ProgramEnded

Version = tuple[int, int, int]

_NEWEST: Version = (9999, 0, 0)
_match_version = re.compile(r"[^/]*/(\d{1,4})\.(\d{1,6})\.(\d{1,6})").match
_IDLE_SECONDS = 5.0
"""How long an app-server is kept for the next change."""
_OWN_VARIABLES = "MCP_SESSIONS_"
"""The prefix of our own settings. They may be credentials, so Codex doesn't get them."""


class RequestRefused(Exception):
    """Codex answered with an error. `message` is its own, which callers of this server must not see."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ResponseLost(Exception):
    """A request was sent, and the app-server ended or took too long."""


class AppServer:
    """A running `codex app-server`. `version` is that of Codex."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = process
        self._last_id = 0
        self.version = _NEWEST

    async def initialize(self, home: Path) -> None:
        """Begin the conversation. Raise `Unavailable` or `BadResponse` if the program is not Codex with this home."""
        try:
            client = {"name": "mcp-sessions", "title": "mcp-sessions", "version": "1"}
            answer = await self.call("initialize", {"clientInfo": client})
            self._process.send(b'{"method":"initialized"}')
        except (RequestRefused, ResponseLost, ProgramEnded) as error:
            raise Unavailable(
                "the program codex ended before it answered; nothing was changed. Check that it can be started, and "
                "that it can write to its home."
            ) from error
        found = _match_version(text_in(answer, "userAgent"))
        told = text_in(answer, "codexHome")
        if found is None or (told and not _is_same(told, home)):
            raise BadResponse("the program did not answer as codex does; nothing was changed. Check which one it is.")
        version = (int(found[1]), int(found[2]), int(found[3]))
        self.version = version if any(version) else _NEWEST  # 0.0.0 is a build from source

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """Return the result of a request. Raise `RequestRefused` or `ResponseLost`."""
        self._last_id += 1
        request = {"id": self._last_id, "method": method, "params": params}
        try:
            self._process.send(json.dumps(request).encode())
            while True:
                message = parse(await self._process.receive()) or {}
                if message.get("id") == self._last_id and "method" not in message:
                    break  # the others are notifications, and requests that need no response
        except ProgramEnded as error:
            raise ResponseLost from error
        if "error" in message:
            raise RequestRefused(text_in(object_in(message, "error"), "message"))
        result = message.get("result")
        return result if is_object(result) else {}

    async def close(self) -> None:
        await self._process.close()


class AppServers:
    """Starts an app-server for a change, and keeps it for the next one for some seconds."""

    def __init__(self, program: str, home: Path) -> None:
        self.program = program
        self._home = home
        self._lock = anyio.Lock()
        self._current: AppServer | None = None
        self._tasks: TaskGroup | None = None
        self._uses = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """End the app-server when it is idle, or with this context."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()
                await self._end()

    @asynccontextmanager
    async def use(self, *, keep: bool = True) -> AsyncGenerator[AppServer]:
        """Yield an app-server that no other call uses in the meantime. It is ended if `keep` is false, and after an
        error, so that a request that was sent can't be carried out later.
        """
        async with self._lock:
            self._uses += 1
            try:
                yield await self._started()
            except BaseException as error:
                keep = keep and isinstance(error, RequestRefused)
                raise
            finally:
                await self._release(keep=keep)

    async def _release(self, *, keep: bool) -> None:
        if keep and self._tasks is not None:
            self._tasks.start_soon(self._end_when_idle, self._uses)
        else:
            await self._end()

    async def _started(self) -> AppServer:
        if self._current is None:
            environment = {**program_environment(self.program), "CODEX_HOME": str(self._home)}
            try:
                process = await ChildProcess.start([self.program, "app-server"], environment, str(self._home))
            except OSError as error:
                raise Unavailable(
                    f"the program codex could not be started ({error.strerror}); nothing was changed."
                ) from error
            self._current = AppServer(process)
            await self._current.initialize(self._home)
        return self._current

    async def _end_when_idle(self, uses: int) -> None:
        await anyio.sleep(_IDLE_SECONDS)
        async with self._lock:
            if self._uses == uses:
                await self._end()

    async def _end(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            await current.close()


def program_environment(program: str) -> dict[str, str]:
    """Return the environment for codex: ours, without our settings.

    The codex of npm needs node, which is usually beside it, and not always on the PATH that clients give to a server.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
    path = [os.environ.get("PATH", os.defpath), os.path.dirname(program)]  # noqa: PTH120 - as text
    return {**environment, "PATH": os.pathsep.join(path)}


def _is_same(path: str, folder: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(folder)
