"""The `mcp-sessions` command: flags and variables into settings, then into a command."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from . import __version__
from .commands import refuse
from .settings import OPTIONS, BadSetting, Settings

_COMMANDS = {
    "serve": "serve MCP over stdio (what a client starts; the default) or over HTTP (--transport http)",
    "demo": "walk through the tools on a temporary store, with a real client, and print what happens",
}
_COPY_HELP = "copy all sessions of one store into another one that is empty, and compare the two"
_TOKEN_HELP = "make a token for --tokens: the token, shown once, and the line for the file"
_EPILOG = """\
Every flag has a variable too, which it wins over: --max-chars is MCP_SESSIONS_MAX_CHARS.
MCP_SESSIONS_TOKEN holds the backend's credential, and MCP_SESSIONS_STATE_KEY what replicas share (over HTTP, 32
characters or more); there are no flags for them, since others could read them there.
"""


_LINE = 300  # characters of a line of the log that strangers' words may fill


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mcp-sessions: {message}. `{self.prog} --help` lists all flags.\n")


class _Visible(logging.Formatter):
    """What is logged may hold strangers' words, such as a Host header: none of them moves a terminal's cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        lines = super().formatMessage(record).split("\n")
        return "\n".join("".join(char if char.isprintable() else "�" for char in line[:_LINE]) for line in lines)


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    for name, option in OPTIONS.items():
        if not option.flag:
            continue
        text = f"{option.help} (default: {option.shown_default})".replace("%", "%%")
        how: dict[str, Any] = {"metavar": option.metavar, "action": "append" if option.repeatable else "store"}
        if not option.metavar:
            how = {"action": "store_const", "const": "on"}
        common.add_argument(option.flag, dest=name, help=text, default=argparse.SUPPRESS, **how)
    parser = _Parser(
        prog="mcp-sessions",
        description="Lets agents find, read, name, annotate, archive, restore and delete their own sessions, over MCP.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mcp-sessions {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, help in _COMMANDS.items():
        settings = [common] if name != "demo" else []  # the demo never touches what is configured
        commands.add_parser(name, help=help, description=help, parents=settings, allow_abbrev=False)
    copy = commands.add_parser("copy", help=_COPY_HELP, description=_COPY_HELP, allow_abbrev=False)
    copy.add_argument("--from", dest="source", required=True, metavar="URL", help="sqlite:///PATH or postgresql://…")
    copy.add_argument("--to", dest="target", required=True, metavar="URL", help="the same; it must hold nothing else")
    token = commands.add_parser("token", help=_TOKEN_HELP, description=_TOKEN_HELP, allow_abbrev=False)
    new = token.add_subparsers(dest="action", metavar="new", required=True).add_parser(
        "new", help=_TOKEN_HELP, description=_TOKEN_HELP, allow_abbrev=False
    )
    new.add_argument("--subject", required=True, metavar="S", help="whose token it is: the user id of their sessions")
    new.add_argument("--scopes", required=True, metavar="A,B", help="of sessions:read, sessions:write, sessions:delete")
    new.add_argument(
        "--expires",
        metavar="ISO",
        help="when it ends, in UTC: 2027-01-31 is that day's first moment (default: never)",
        default="",
    )
    return parser


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run a command; its exit status. A wrong setting is one line on stderr and 2."""
    given = vars(_parser().parse_args(arguments))
    command = given.pop("command") or "serve"
    try:
        settings = Settings.read(given, environ)
    except BadSetting as error:
        return refuse(str(error))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Visible("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=settings.log_level)
    # Below WARNING these would log whole messages, and those hold what people said.
    level = logging.getLevelNamesMapping()[settings.log_level]
    for name in ("mcp", "sse_starlette"):
        logging.getLogger(name).setLevel(max(logging.WARNING, level))
    gc.disable()  # nothing that importing makes is garbage, and looking for some takes a tenth of the start
    module = import_module(f".commands.{command}", __package__)
    gc.freeze()
    gc.enable()
    own = {name: value for name, value in given.items() if name not in OPTIONS}
    return module.run(settings, **own)
