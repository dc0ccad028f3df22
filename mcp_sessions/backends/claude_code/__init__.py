"""A backend for the sessions of Claude Code: the transcripts in its folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from platformdirs import user_data_dir

from ...errors import Invalid
from ..backend_type import BackendType, OpenContext
from ..environment import DATA_FOLDER, Variable
from ..options import KEEP_DELETED, BackendOptions, Option, refuse_other_options

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend


def _which(text: str) -> str:
    if text not in ("archived", "all", "off"):
        raise ValueError("accepts archived, all and off")
    return text


KEEP = Option(
    "archived",
    "archived|all|off",
    "which sessions are kept although Claude Code removes them when they are old",
    _which,
)


@dataclass(frozen=True, kw_only=True)
class ClaudeCodeOptions(BackendOptions):
    """The options of Claude Code's sessions."""

    keep_deleted: int = KEEP_DELETED.field()
    keep: str = KEEP.field()


def open_claude_code(url: str, options: ClaudeCodeOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `claude-code:`, the user's own folder, or `claude-code:///PATH`, another one.

    Raise `Invalid` for any other URL.
    """
    from .backend import ClaudeCodeBackend

    path = os.fsdecode(unquote_to_bytes(url.removeprefix("claude-code:").partition("?")[0]))
    if (path and not path.startswith("///")) or path == "///" or "\0" in path:
        raise Invalid("the URL of Claude Code's sessions must be claude-code: or claude-code:///PATH")
    refuse_other_options(url, ClaudeCodeOptions)
    data = Path(context.data_folder or user_data_dir("mcp-sessions", appauthor=False))
    return ClaudeCodeBackend(_folder(path.removeprefix("//")), options, data, read_only=context.read_only)


def _folder(path: str) -> Path:
    """Return the folder at a path that begins with a slash, or the user's own for ""."""
    if path[2:3] == ":":  # /C:/Users/…
        path = path[1:]
    try:
        return Path(path or os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser().absolute()
    except RuntimeError as error:
        raise Invalid("the user's home folder is not known. Name the folder: claude-code:///PATH") from error


CLAUDE_CODE = BackendType(
    ClaudeCodeOptions,
    open_claude_code,
    (*DATA_FOLDER, Variable("CLAUDE_CONFIG_DIR", is_path=True)),
    own_path=lambda: _folder("") / "projects",
)
