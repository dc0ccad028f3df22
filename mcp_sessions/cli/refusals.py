"""Error messages of the commands, and their exit statuses."""

import os
import sys
from typing import TypeVar

from mcp_sessions.errors import SessionsError, replace_unprintable

E = TypeVar("E", bound=Exception)


def refuse(reason: str) -> int:
    """Print on stderr why a command can't begin. Return the exit status."""
    print(f"mcp-sessions: {replace_unprintable(reason)}", file=sys.stderr)
    return 2


def refuse_backend(error: SessionsError) -> int:
    """Print on stderr why a backend can't be opened: --backend, unless the error names a setting. Return the status."""
    return refuse(str(error) if error.message.startswith(("--", "MCP_SESSIONS_")) else f"--backend: {error}")


def first_error(errors: BaseExceptionGroup[E]) -> E:
    """Return the first error of a group, which may be inside other groups."""
    first = errors.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first


def discard_stdout() -> int:
    """Discard what is still to be printed, after the reader of stdout has closed it. Return the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
