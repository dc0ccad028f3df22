"""`mcp-sessions copy`: copy all of one store into another, then compare the two."""

import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

import anyio

from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.backends.sql.flag_errors import StoreArgument, name_flag_in_errors
from mcp_sessions.backends.sql.store_copy import CopyResult, copy_store, require_copyable
from mcp_sessions.cli.refusals import refuse
from mcp_sessions.config.build import backend_options
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import Busy, Conflict, OutcomeUnknown, SessionsError, Timeout, Unavailable
from mcp_sessions.sqlite_url import path_of

_SECONDS_BETWEEN_LINES = 2
_FROM, _TO = "--from", "--to"
_AGAIN = "Run the same command again to continue."
_TEMPORARY = (Busy, OutcomeUnknown, Timeout, Unavailable)


def run(settings: Settings, *, source: str, target: str) -> int:
    """Copy the store. Return 0 if both are the same afterwards, 1 if not or on an error, 2 if it can't begin."""
    try:
        stores = _store(_FROM, source, settings), _store(_TO, target, settings)
        if source == target or _is_one_file(source, target):
            raise BadSetting("--to can't be the same as --from: it accepts another store.")
        return _report(anyio.run(_copy, *stores))
    except BadSetting as error:
        return refuse(str(error))
    except SessionsError as error:
        again = f" {_AGAIN}" if isinstance(error, _TEMPORARY) else ""
        print(f"mcp-sessions: {error}{again}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"mcp-sessions: interrupted. {_AGAIN}", file=sys.stderr)
        return 130


def _store(flag: str, url: str, settings: Settings) -> SqlBackend:
    scheme = url.partition(":")[0]
    if scheme not in ("sqlite", "postgresql"):
        raise BadSetting(f"{flag} accepts a store of our own: sqlite:///PATH or postgresql://…")
    try:
        with name_flag_in_errors(flag):
            backend = open_backend(url, **backend_options(settings, url))
    except SessionsError as error:
        raise BadSetting(str(error)) from error
    assert isinstance(backend, SqlBackend)
    return backend


def _is_one_file(source: str, target: str) -> bool:
    """Return whether both URLs lead to one file, perhaps by different names.

    SQLite names its journal after the path, so opening one file by two names damages it.
    """
    one, other = path_of(source), path_of(target)
    if one and other:
        with suppress(OSError):
            return Path(one).expanduser().samefile(Path(other).expanduser())
    return False


async def _copy(source: SqlBackend, target: SqlBackend) -> CopyResult:
    ends = StoreArgument(_FROM, source.database), StoreArgument(_TO, target.database)
    async with AsyncExitStack() as stack:
        try:
            with name_flag_in_errors(_FROM):
                await source.database.open_existing()
            stack.push_async_callback(source.database.close)
            with name_flag_in_errors(_TO):
                await stack.enter_async_context(target)
            await require_copyable(*ends)
        except Conflict as error:
            raise BadSetting(f"{_TO}: {error}") from error
        except SessionsError as error:
            raise BadSetting(str(error)) from error
        return await copy_store(*ends, _Progress().tell)


class _Progress:
    """Prints the progress on stderr, at most every two seconds."""

    def __init__(self) -> None:
        self._printed_at = monotonic()

    def tell(self, what: str, done: int, total: int) -> None:
        if monotonic() > self._printed_at + _SECONDS_BETWEEN_LINES:
            self._printed_at = monotonic()
            print(f"mcp-sessions: {done:,} of {total:,} sessions {what}", file=sys.stderr, flush=True)


def _report(copied: CopyResult) -> int:
    """Print the result of the copy. Return the exit status."""
    there = f", {copied.already_there:,} of the sessions were there already" if copied.already_there else ""
    if copied.different_ids:
        ids = ", ".join(copied.different_ids[:20])
        more = f" and {len(copied.different_ids) - 20:,} more" if len(copied.different_ids) > 20 else ""
        print(
            f"mcp-sessions: not the same in both stores: {ids}{more}. They were changed in one of them since they were "
            "copied, and were left unchanged. Copy into an empty store, while nothing changes the source.",
            file=sys.stderr,
        )
        return 1
    print(
        f"{copied.sessions:,} sessions with {copied.messages:,} messages are in both, equal by count and digest{there}."
        + _note_on_users(copied.without_user)
    )
    return 0


def _note_on_users(sessions: int) -> str:
    """Return a note on the sessions without a user, "" if there are none."""
    if not sessions:
        return ""
    who, them = ("1 of them has", "it") if sessions == 1 else (f"{sessions:,} of them have", "them")
    return f" {who} no user: authenticated callers don't see {them}."
