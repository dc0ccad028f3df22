"""One command a file: `run(settings)` returns the exit status."""

import os
import sys

from mcp_sessions.errors import SessionsError, visible


def refuse(reason: str) -> int:
    """Say in one line on stderr why a command can't begin; the exit status for that."""
    print(f"mcp-sessions: {visible(reason)}", file=sys.stderr)
    return 2


def refuse_backend(error: SessionsError) -> int:
    """The same for what a backend can't be opened with; --backend, unless it names another setting itself."""
    return refuse(str(error) if error.message.startswith(("--", "MCP_SESSIONS_")) else f"--backend: {error}")


def unread() -> int:
    """The exit status where nobody reads what is printed; what is still unsaid has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
