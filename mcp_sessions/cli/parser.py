"""The parser of the command line, with the text of `--help`."""

import argparse
from collections.abc import Collection
from typing import Any, NoReturn

from .. import __version__
from ..config.settings import OVER_HTTP, SETTINGS
from ..errors import replace_unprintable

CLIENTS = ("claude-code", "claude-desktop", "cursor", "vscode", "codex", "opencode", "gemini", "qwen", "copilot")
_DESCRIPTION = "Lets agents find, read, name, annotate, archive, restore and delete their own sessions, over MCP."
_COMMANDS = {
    "serve": "serve MCP over stdio (what a client starts; the default) or over HTTP (--transport http)",
    "demo": "start the server on a temporary store, call its tools with a real client, and print the results",
    "browse": "open a page in the browser to read, search, rename, archive, restore and delete sessions",
    "doctor": "check these settings and the backend, without changing anything, and say what is wrong",
    "config": "print a client's configuration for this server, with these settings",
    "copy": "copy all sessions of one backend into another one, and compare the two",
    "overlay": "export the overlay's values to a file, import them, or move them into their systems",
    "index": "bring the search index up to date, with a progress bar",
    "token": "create a token for --tokens: print the token, which is shown only once, and the line for the file",
}
_OVERLAY_ACTIONS = {
    "export": "write the overlay's values to a new file",
    "import": "add those values of a file that the overlay lacks; values that the overlay has are never changed",
    "migrate": "move values into the systems that can now store them; without --apply, only say what would be moved",
}
_OVERLAY_SETTINGS = ("log_level", "overlay", "timeout")
_MIGRATION_SETTINGS = (*_OVERLAY_SETTINGS, "user", "backend", "token", "trust_env", "allow_http", "agents")
_BROWSE_SETTINGS = [name for name, setting in SETTINGS.items() if setting.group != OVER_HTTP]
_WITH_SETTINGS = ("serve", "browse", "doctor", "config", "index")
_EPILOG = "Each flag also has an environment variable, such as MCP_SESSIONS_MAX_CHARS for --max-chars. The flag wins."
_CREDENTIALS = (
    "MCP_SESSIONS_TOKEN is the credential of the backend that is reached over HTTP. If both backends are, only the one "
    "in --from gets it. Other users of this machine can see a password in a command's URL. Use PGPASSWORD or ~/.pgpass "
    "instead."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mcp-sessions: {replace_unprintable(message)}. `{self.prog} --help` lists all flags.\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Its namespace has `command`, the given flags by their fields of `Settings`, and the command's own arguments.
    """
    main = _Parser(
        prog="mcp-sessions",
        usage="mcp-sessions [COMMAND] [SETTING]...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        add_help=False,
        allow_abbrev=False,
    )
    commands = main.add_subparsers(dest="command", metavar="COMMAND", title="commands", prog="mcp-sessions")
    added = {
        name: commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False)
        for name, help in _COMMANDS.items()
    }
    added["config"].add_argument("client", metavar="CLIENT", choices=CLIENTS, help=f"one of {', '.join(CLIENTS)}")
    added["index"].add_argument("--rebuild", action="store_true", help="build a new index")
    _add_copy(added["copy"])
    _add_overlay(added["overlay"])
    _add_token(added["token"])
    _add_settings(main)
    for name in _WITH_SETTINGS:
        own = {"config": "CLIENT ", "index": "[--rebuild] "}.get(name, "")
        added[name].usage = f"mcp-sessions {name} {own}[SETTING]..."
        added[name].epilog = _EPILOG
        _add_settings(added[name], _BROWSE_SETTINGS if name == "browse" else SETTINGS)
    others = main.add_argument_group("other")
    others.add_argument("-h", "--help", action="help", help="show this and exit; COMMAND --help shows a command's help")
    others.add_argument(
        "--version", action="version", version=f"mcp-sessions {__version__}", help="show the version and exit"
    )
    return main


def _add_settings(parser: argparse.ArgumentParser, names: Collection[str] = SETTINGS) -> None:
    """Add the flags of the settings in `names`."""
    for group in dict.fromkeys(SETTINGS[name].group for name in SETTINGS if name in names):
        members = {name: setting for name, setting in SETTINGS.items() if setting.group == group and name in names}
        variables = [
            f"{setting.variable} (no flag): {setting.help}" for setting in members.values() if not setting.flag
        ]
        titled = parser.add_argument_group(f"settings, {group}", ". ".join(variables) or None)
        for name, setting in members.items():
            if not setting.flag:
                continue  # a secret has no flag, since other users can see a command's arguments
            text = f"{setting.help} (default: {setting.shown_default})".replace("%", "%%")
            how: dict[str, Any] = {"metavar": setting.metavar, "action": "append" if setting.separator else "store"}
            if not setting.metavar:
                how = {"action": "store_const", "const": "on"}
            titled.add_argument(setting.flag, dest=name, help=text, default=argparse.SUPPRESS, **how)


def _add_copy(copy: argparse.ArgumentParser) -> None:
    copy.description = (
        f"{copy.description} Between two embedded stores, ids, times and deleted sessions are kept, and --to must be "
        "empty. From any other backend, --to may have other sessions. The same command continues an interrupted copy."
    )
    copy.epilog = _CREDENTIALS
    copy.add_argument("--from", dest="source", required=True, metavar="URL", help="any backend; it is only read")
    copy.add_argument(
        "--to", dest="target", required=True, metavar="URL", help="a store: sqlite:///PATH or postgresql://…"
    )


def _add_overlay(overlay: argparse.ArgumentParser) -> None:
    actions = overlay.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, help in _OVERLAY_ACTIONS.items():
        added = actions.add_parser(action, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False)
        added.usage = f"mcp-sessions overlay {action} {'[--apply]' if action == 'migrate' else 'FILE'} [SETTING]..."
        added.epilog = _EPILOG
        if action == "migrate":
            added.add_argument(
                "--apply",
                action="store_true",
                help="move the values; each is read back before it is removed from the overlay",
            )
        else:
            added.add_argument("file", metavar="FILE", help="lines of JSON, one for each value")
        _add_settings(added, _MIGRATION_SETTINGS if action == "migrate" else _OVERLAY_SETTINGS)


def _add_token(token: argparse.ArgumentParser) -> None:
    new = token.add_subparsers(dest="action", metavar="new", required=True).add_parser(
        "new", help=_COMMANDS["token"], description=token.description, allow_abbrev=False
    )
    new.add_argument("--subject", required=True, metavar="S", help="the user id of the token's owner")
    scopes = "any of sessions:read, sessions:write, sessions:delete"
    new.add_argument("--scopes", required=True, metavar="A,B", help=scopes)
    new.add_argument(
        "--expires",
        metavar="ISO",
        help="when the token expires, in UTC; 2027-01-31 is the beginning of that day (default: never)",
        default="",
    )
