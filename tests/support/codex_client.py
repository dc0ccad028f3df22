"""The real Codex, in the folder of npm that MCP_SESSIONS_CODEX leads to."""

import os
from pathlib import Path

VARIABLE = "MCP_SESSIONS_CODEX"


def is_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


def installed_codex() -> Path:
    """Return the program."""
    return Path(os.environ[VARIABLE]) / "node_modules/.bin/codex"
