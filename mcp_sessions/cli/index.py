"""`mcp-sessions index`: bring the search index up to date, or rebuild it."""

import sys
from time import monotonic

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.index import Indexed
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.caller import Caller
from mcp_sessions.cli.refusals import refuse
from mcp_sessions.config.build import build_backends, open_index
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import Busy, Invalid, SessionsError, replace_unprintable

_WIDTH = 30
_SECONDS_BETWEEN_LINES = 2


def run(settings: Settings, *, rebuild: bool = False) -> int:
    """Index everything. Return 0, 1 if something could not be indexed, 2 if it can't begin."""
    try:
        if settings.index == "off":
            raise BadSetting("--index can't be off for this command. Give the index's path, or leave it out.")
        return anyio.run(_index_all, settings, rebuild)
    except (BadSetting, Invalid) as error:
        return refuse(str(error))
    except SessionsError as error:
        print(f"mcp-sessions: {replace_unprintable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mcp-sessions: interrupted. The same command continues.", file=sys.stderr)
        return 130


async def _index_all(settings: Settings, rebuild: bool) -> int:
    backends = build_backends(settings)
    if rebuild:
        async with open_index(settings) as store:
            await store.open()  # refuses an index of a newer version
            with store.all_sync_locks() as are_held:
                if not are_held:
                    raise Busy("another process is updating the index. Wait for it to finish, then try again.")
                await store.rebuild()
    status = 0
    for name, backend in backends.items():
        indexed = _index_of(backend)
        title = name or backend.title
        if indexed is None:
            print(f"{title}: has an index of its own")
            continue
        try:
            note = await _index(indexed, settings.user, title)
        except SessionsError as error:
            note = str(error)
        print(replace_unprintable(f"{title}: {note or 'complete'}"))
        status = status or int(bool(note))
    return status


def _index_of(backend: SessionBackend) -> Indexed | None:
    """Return the layer that has the index, None if the backend needs none."""
    while isinstance(backend, Wrapper) and not isinstance(backend, Indexed):
        backend = backend.inner
    return backend if isinstance(backend, Indexed) else None


async def _index(backend: Indexed, user: str, title: str) -> str:
    async with backend:
        bar = _Bar(title)
        try:
            return await backend.for_caller(Caller(user_id=user)).update_index(bar.show)
        finally:
            bar.end()


class _Bar:
    """A progress bar on stderr, or a line every two seconds if that is no terminal."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = monotonic()
        self._is_shown = False

    async def show(self, done: int, total: int) -> None:
        text = f"{self._title}: {done:,} of {total:,} sessions"
        if self._is_terminal:
            bar = "#" * (_WIDTH * done // total)
            print(f"\r[{bar:<{_WIDTH}}] {text}", end="", file=sys.stderr, flush=True)
            self._is_shown = True
        elif monotonic() > self._shown_at + _SECONDS_BETWEEN_LINES:
            self._shown_at = monotonic()
            print(f"mcp-sessions: {text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print(file=sys.stderr)
