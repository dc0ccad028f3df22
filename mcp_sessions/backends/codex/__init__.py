"""A backend for the threads of Codex: the files and the database in its home, which are only read."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ...errors import Invalid
from ..backend_type import BackendType, OpenContext
from ..environment import Variable
from ..options import BackendOptions, refuse_other_options

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend


@dataclass(frozen=True, kw_only=True)
class CodexOptions(BackendOptions):
    """The options of Codex's threads."""


def open_codex(url: str, options: CodexOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `codex:`, the user's own home of Codex, or `codex:///PATH`, another one.

    Raise `Invalid` for any other URL.
    """
    from .backend import CodexBackend

    path = os.fsdecode(unquote_to_bytes(url.removeprefix("codex:").partition("?")[0]))
    if (path and not path.startswith("///")) or path == "///" or "\0" in path:
        raise Invalid("the URL of Codex's threads must be codex: or codex:///PATH")
    refuse_other_options(url, CodexOptions)
    return CodexBackend(_home(path.removeprefix("//")), options)


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
