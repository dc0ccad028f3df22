"""`mcp-sessions copy`: copy all sessions of one backend into another one, then compare the two.

A store is copied into a store exactly, with ids, times and deleted sessions. Any other copy has only what the
operations of both backends can read and write.
"""

import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.flag_errors import name_flag_in_errors
from mcp_sessions.backends.options import HttpOptions, options_of, split_options
from mcp_sessions.backends.registry import mask_passwords, open_backend
from mcp_sessions.backends.session_copy import TEMPORARY, BackendArgument, copy_sessions, why_no_target
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.backends.sql.store_argument import StoreArgument
from mcp_sessions.backends.sql.store_copy import copy_store, require_copyable
from mcp_sessions.cli.copy_report import AGAIN, report_session_copy, report_store_copy
from mcp_sessions.cli.refusals import refuse
from mcp_sessions.config.build import backend_options
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import Conflict, SessionsError
from mcp_sessions.sqlite_url import path_of

_SECONDS_BETWEEN_LINES = 2
_FROM, _TO = "--from", "--to"


def run(settings: Settings, *, source: str, target: str) -> int:
    """Copy the sessions. Return 0 if all are equal afterwards, 1 if not or on an error, 2 if it can't begin."""
    try:
        opened_source = _open(_FROM, source, settings, token=settings.token)
        _require_operations(target, settings)
        sends_token = isinstance(opened_source.options, HttpOptions)
        opened_target = _open(_TO, target, settings, token="" if sends_token else settings.token)
        if source == target or _is_one_file(source, target):
            raise BadSetting("--to can't be the same as --from: name another store.")
        return anyio.run(_copy, opened_source, opened_target, _source_name(source))
    except BadSetting as error:
        return refuse(str(error))
    except SessionsError as error:
        again = f" {AGAIN}" if isinstance(error, TEMPORARY) else ""
        print(f"mcp-sessions: {error}{again}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"mcp-sessions: interrupted. {AGAIN}", file=sys.stderr)
        return 130


def _open(
    flag: str, url: str, settings: Settings, *, token: str = "", callers_have_credentials: bool = False
) -> SessionBackend:
    try:
        with name_flag_in_errors(flag):
            return open_backend(
                url,
                token=token,
                callers_have_credentials=callers_have_credentials,
                **backend_options(settings, url),
            )
    except SessionsError as error:
        raise BadSetting(str(error)) from error


def _require_operations(target: str, settings: Settings) -> None:
    """Raise `BadSetting` if the target can't store what a copy has, whether or not it has a credential."""
    backend = _open(_TO, target, settings, callers_have_credentials=True)
    if why_not := why_no_target(backend):
        raise BadSetting(
            f"{_TO}: {backend.title} {why_not}, so nothing can be copied into it. "
            "Name a store: sqlite:///PATH or postgresql://…"
        )


def _is_one_file(source: str, target: str) -> bool:
    """Return whether both URLs lead to the same file, even under different names.

    SQLite names its journal after the path, so opening a file under two names damages it.
    """
    one, other = path_of(source), path_of(target)
    if one and other:
        with suppress(OSError):
            return Path(one).expanduser().samefile(Path(other).expanduser())
    return False


def _source_name(url: str) -> str:
    """Return the name of the source in the metadata of the copies: its URL, without options of the connection.

    The name has to tell systems apart, since two of them may have sessions with the same id.
    """
    scheme, _, address = mask_passwords(url).partition(":")
    return f"{scheme.partition('+')[0]}:{split_options(address, options_of(HttpOptions))[0]}"


async def _copy(source: SessionBackend, target: SessionBackend, source_name: str) -> int:
    """Copy the sessions and print the result. Return the exit status."""
    async with AsyncExitStack() as stack:
        try:
            with name_flag_in_errors(_FROM):
                await _enter_source(source, stack)
            with name_flag_in_errors(_TO):
                await stack.enter_async_context(target)
        except SessionsError as error:
            raise BadSetting(str(error)) from error
        if isinstance(source, SqlBackend) and isinstance(target, SqlBackend):
            return await _copy_store(source, target)
        ends = BackendArgument(_FROM, source), BackendArgument(_TO, target)
        copied = await copy_sessions(*ends, source_name, _Progress().report)
        return report_session_copy(copied, source.title, target.title)


async def _copy_store(source: SqlBackend, target: SqlBackend) -> int:
    stores = StoreArgument(_FROM, source.database), StoreArgument(_TO, target.database)
    try:
        await require_copyable(*stores)
    except Conflict as error:
        raise BadSetting(f"{_TO}: {error}") from error
    except SessionsError as error:
        raise BadSetting(str(error)) from error
    return report_store_copy(await copy_store(*stores, _Progress().report))


async def _enter_source(source: SessionBackend, stack: AsyncExitStack) -> None:
    """Enter the backend, unless it is a store: that is only opened, since entering a store creates or changes it."""
    if isinstance(source, SqlBackend):
        await source.database.open_existing()
        stack.push_async_callback(source.database.close)
    else:
        await stack.enter_async_context(source)
        await source.check_reachable()


class _Progress:
    """Prints the progress on stderr, at most every two seconds."""

    def __init__(self) -> None:
        self._printed_at = monotonic()

    def report(self, step: str, done: int, total: int) -> None:
        if monotonic() > self._printed_at + _SECONDS_BETWEEN_LINES:
            self._printed_at = monotonic()
            print(f"mcp-sessions: {done:,} of {total:,} sessions {step}", file=sys.stderr, flush=True)
