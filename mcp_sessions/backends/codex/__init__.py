"""A backend for the threads of Codex: it reads the files in its home, and lets Codex itself make changes."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ...errors import Invalid
from ..backend_type import BackendType, OpenContext
from ..environment import Variable, find_program, program_on_path
from ..options import BackendOptions, Option, refuse_other_options

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend

COMMAND = Option("", "PROGRAM", "the codex that makes changes; by default the one on the PATH", find_program)


@dataclass(frozen=True, kw_only=True)
class CodexOptions(BackendOptions):
    """The options of Codex's threads."""

    command: str = COMMAND.field()


def open_codex(url: str, options: CodexOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `codex:`, the user's own home of Codex, or `codex:///PATH`, another one.

    Raise `Invalid` for any other URL.
    """
    path = os.fsdecode(unquote_to_bytes(url.removeprefix("codex:").partition("?")[0]))
    if (path and not path.startswith("///")) or path == "///" or "\0" in path:
        raise Invalid("the URL of Codex's threads must be codex: or codex:///PATH")
    refuse_other_options(url, CodexOptions)
    # On Windows, we can't end the processes that Codex leaves running, so sessions can only be read there.
    command = "" if sys.platform == "win32" else options.command or program_on_path("codex")
    home = _home(path.removeprefix("//"))
    if not command:
        from .reader import CodexReader

        return CodexReader(home, options)
    from .backend import CodexBackend

    return CodexBackend(home, options, command)


def _home(path: str) -> Path:
    """Return the folder at a path that begins with a slash, or the user's own home of Codex for ""."""
    if path[2:3] == ":":  # /C:/Users/…
        path = path[1:]
    try:
        return Path(path or os.environ.get("CODEX_HOME") or "~/.codex").expanduser().absolute()
    except RuntimeError as error:
        raise Invalid("the user's home folder is not known. Name Codex's: codex:///PATH") from error


CODEX = BackendType(
    CodexOptions, open_codex, (Variable("CODEX_HOME", is_path=True),), own_path=lambda: _home("") / "sessions"
)
