"""`mcp-sessions copy`: all of one store into another, then both compared."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from urllib.parse import unquote

import anyio

from mcp_sessions.backends import open_backend
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.backends.sql.copying import Copied, copy_store
from mcp_sessions.commands import refuse
from mcp_sessions.errors import Conflict, SessionsError
from mcp_sessions.settings import BadSetting, Settings

_SECONDS_BETWEEN_LINES = 2
_SQLITE = "sqlite:///"


def run(settings: Settings, *, source: str, target: str) -> int:
    """0 when both are the same afterwards, 1 when they are not or it was broken off, 2 when it can't begin."""
    try:
        if source == target:
            raise BadSetting("--to can't be what --from is: it accepts another store.")
        if source.startswith(_SQLITE) and not Path(unquote(source.removeprefix(_SQLITE))).expanduser().exists():
            raise BadSetting("--from names a file that does not exist. It accepts the URL of a store that is there.")
        source_store, target_store = _store("--from", source, settings), _store("--to", target, settings)
    except BadSetting as error:
        return refuse(str(error))
    try:
        copied = anyio.run(_copy, source_store, target_store)
    except Conflict as error:
        return refuse(f"--to: {error}")
    except SessionsError as error:
        print(f"mcp-sessions: {error} Run the same command again to go on.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mcp-sessions: broken off. Run the same command again to go on.", file=sys.stderr)
        return 130
    return _told(copied)


def _store(flag: str, url: str, settings: Settings) -> SqlBackend:
    scheme = url.partition(":")[0]
    if scheme not in ("sqlite", "postgresql"):
        raise BadSetting(f"{flag} accepts a store of our own: sqlite:///PATH or postgresql://…")
    try:
        backend = open_backend(url, timeout=settings.timeout, keep_deleted=settings.keep_deleted)
    except SessionsError as error:
        raise BadSetting(f"{flag}: {error}") from error
    assert isinstance(backend, SqlBackend)
    return backend


async def _copy(source: SqlBackend, target: SqlBackend) -> Copied:
    async with AsyncExitStack() as stack:
        for store in (source, target):
            await stack.enter_async_context(store)
        return await copy_store(source.database, target.database, _Progress().tell)


class _Progress:
    """Says on stderr how far it came, every now and then."""

    def __init__(self) -> None:
        self._said_at = monotonic()

    def tell(self, what: str, done: int, total: int) -> None:
        if monotonic() > self._said_at + _SECONDS_BETWEEN_LINES:
            self._said_at = monotonic()
            print(f"mcp-sessions: {done:,} of {total:,} sessions {what}", file=sys.stderr, flush=True)


def _told(copied: Copied) -> int:
    there = f", {copied.were_there:,} of the sessions were there already" if copied.were_there else ""
    if copied.differing:
        ids = ", ".join(copied.differing[:20])
        more = f" and {len(copied.differing) - 20:,} more" if len(copied.differing) > 20 else ""
        print(
            f"mcp-sessions: not the same in both stores: {ids}{more}. They were changed in one of them since they were "
            "copied, and were left as they are. Copy into an empty store, while nothing changes the source.",
            file=sys.stderr,
        )
        return 1
    print(
        f"{copied.sessions:,} sessions with {copied.messages:,} messages are in both, equal by count and digest{there}."
    )
    return 0
