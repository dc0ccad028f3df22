"""What opencode tells the MCP servers that it starts: little, and not which session makes a call."""

import os
from pathlib import Path

VARIABLE = "OPENCODE_PID"
"""The variable that opencode sets for the servers that it starts."""


def client_folder() -> str:
    """Return the folder of the opencode that started this process, "" if another program did."""
    try:
        return str(Path.cwd()) if VARIABLE in os.environ else ""
    except OSError:  # the folder was removed
        return ""
