"""One command a file: `run(settings)` returns the exit status."""

import sys

from mcp_sessions.errors import visible


def refuse(reason: str) -> int:
    """Say in one line on stderr why a command can't begin; the exit status for that."""
    print(f"mcp-sessions: {visible(reason)}", file=sys.stderr)
    return 2
