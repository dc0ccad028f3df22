"""`mcp-sessions config CLIENT`: what makes a client start this server, or call it over HTTP, with these settings."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from mcp_sessions.backends import without_passwords
from mcp_sessions.commands import refuse, refuse_backend
from mcp_sessions.configured import (
    THIS_MACHINE,
    backend_of,
    require_nothing_of_http,
    server_of,
)
from mcp_sessions.errors import SessionsError
from mcp_sessions.models import JsonObject
from mcp_sessions.settings import OPTIONS, BadSetting, Settings, is_url

_SQLITE = "sqlite:///"
_BEARER_VARIABLE = "bearer_token_env_var"
_BEARER = "Bearer REPLACE-WITH-YOUR-TOKEN"


class Started(NamedTuple):
    """A server that the client starts."""

    command: str
    args: list[str]
    env: dict[str, str]


class Called(NamedTuple):
    """A server that the client calls, with these headers."""

    url: str
    headers: dict[str, str]


Server = Started | Called


def run(settings: Settings, *, client: str) -> int:
    """The snippet, and nothing else, on stdout; on stderr a line that says where it goes."""
    try:
        backend = backend_of(settings)
        server = _called(settings) if settings.transport == "http" else _started(settings)
        server_of(backend, settings, authenticated=_is_authenticated(settings))
    except BadSetting as error:
        return refuse(str(error))
    except SessionsError as error:
        return refuse_backend(error)
    write, place = _CLIENTS[client]
    snippet = write(server)
    said = [f"mcp-sessions: {place}."]
    if any(word in snippet for word in ("REPLACE-WITH-", "PASSWORD")):
        said.append("Where it says REPLACE-WITH- or PASSWORD, put yours.")
    if _BEARER_VARIABLE in snippet:
        said.append("The token belongs into that variable of its environment.")
    if isinstance(server, Called):
        said.append("The server itself is yours to start: mcp-sessions serve, with the same settings.")
    print(*said, file=sys.stderr, flush=True)
    print(snippet)
    return 0


def _started(settings: Settings) -> Started:
    require_nothing_of_http(settings)
    return Started(*_command(Path(sys.argv[0])), _variables(settings))


def _command(script: Path) -> tuple[str, list[str]]:
    """What runs now, by its absolute path: clients that aren't started in a shell find little on theirs."""
    if script.stem == "mcp-sessions":
        return str(script.absolute()), []
    return sys.executable, ["-m", "mcp_sessions"]


def _variables(settings: Settings) -> dict[str, str]:
    given = settings.variables()
    for name, option in OPTIONS.items():
        text = given.get(option.variable, "")
        if text and not option.flag:
            given[option.variable] = f"REPLACE-WITH-YOUR-{option.variable}"
        elif text and "FILE" in option.metavar and text != "-" and "://" not in text:
            given[option.variable] = str(Path(text).absolute())
        elif text and name == "backend":
            given[option.variable] = without_passwords(_from_anywhere(text))
    if settings.backend.startswith("postgresql:") and "PGPASSWORD" in os.environ:
        given["PGPASSWORD"] = "REPLACE-WITH-YOUR-PGPASSWORD"  # which clients don't pass on by themselves
    return given


def _from_anywhere(url: str) -> str:
    """A client starts the server in a folder of its own."""
    path = unquote(url.removeprefix(_SQLITE))
    if not url.startswith(_SQLITE) or path == ":memory:":
        return url
    return _SQLITE + quote(Path(path).expanduser().absolute().as_posix())


def _is_authenticated(settings: Settings) -> bool:
    return bool(settings.tokens or settings.jwt_issuer)


def _called(settings: Settings) -> Called:
    from mcp_sessions.transports.access import access_of
    from mcp_sessions.transports.http import address_of

    address_of(settings.host, access_of(settings))
    headers = {"Authorization": _BEARER} if _is_authenticated(settings) else {}
    if settings.own_credentials:
        headers["X-Backend-Authorization"] = _BEARER
    return Called(_url(settings), headers)


def _url(settings: Settings) -> str:
    if is_url(settings.jwt_audience):
        return settings.jwt_audience
    if settings.allowed_host:
        host = settings.allowed_host[0]
        if urlsplit(f"//{host}").hostname not in THIS_MACHINE:
            return f"https://{host}/mcp"
    if not settings.port:
        raise BadSetting("--port can't be 0 here: it stands for another port at each start. It accepts a certain one.")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}/mcp"


def _entry(server: Server) -> JsonObject:
    if isinstance(server, Started):
        return {"command": server.command, "args": [*server.args]} | ({"env": {**server.env}} if server.env else {})
    return {"url": server.url} | ({"headers": {**server.headers}} if server.headers else {})


def _typed(server: Server) -> JsonObject:
    return {"type": "stdio" if isinstance(server, Started) else "http", **_entry(server)}


def _claude_code(server: Server) -> str:
    return shlex.join(["claude", "mcp", "add-json", "--scope", "user", "sessions", json.dumps(_typed(server))])


def _claude_desktop(server: Server) -> str:
    if isinstance(server, Called):  # which its file can't hold
        flags = [part for name in server.headers for part in ("--header", f"{name}:${{{_variable(name)}}}")]
        env = {_variable(name): value for name, value in server.headers.items()}
        flags += ["--allow-http"] if server.url.startswith("http:") else []
        server = Started("npx", ["-y", "mcp-remote", server.url, *flags], env)
    return json.dumps({"mcpServers": {"sessions": _entry(server)}}, indent=2)


def _variable(header: str) -> str:
    return header.upper().replace("-", "_")


def _cursor(server: Server) -> str:
    return json.dumps({"mcpServers": {"sessions": _entry(server)}}, indent=2)


def _vscode(server: Server) -> str:
    return json.dumps({"servers": {"sessions": _typed(server)}}, indent=2)


def _codex(server: Server) -> str:
    if isinstance(server, Started):
        lines = [f"command = {_toml(server.command)}", f"args = [{', '.join(map(_toml, server.args))}]"]
        lines += _table("env", server.env)
    else:
        others = {name: value for name, value in server.headers.items() if name != "Authorization"}
        bearer = [f'{_BEARER_VARIABLE} = "SESSIONS_TOKEN"'] if "Authorization" in server.headers else []
        lines = [f"url = {_toml(server.url)}", *bearer, *_table("http_headers", others)]
    return "\n".join(["[mcp_servers.sessions]", *lines])


def _table(name: str, values: Mapping[str, str]) -> list[str]:
    rows = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return ["", f"[mcp_servers.sessions.{name}]", *rows] if rows else []


def _toml(text: str) -> str:
    """A basic string; JSON's is one too, but for what isn't ASCII and DEL."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if " " <= char <= "~" else f"\\U{ord(char):08X}" for char in quoted)


_CLIENTS: Mapping[str, tuple[Callable[[Server], str], str]] = {
    "claude-code": (_claude_code, "run this in a shell; it adds the server for all of your projects"),
    "claude-desktop": (
        _claude_desktop,
        "this belongs into claude_desktop_config.json (Settings, Developer, Edit Config), in "
        "~/Library/Application Support/Claude, %APPDATA%\\Claude or ~/.config/Claude",
    ),
    "cursor": (_cursor, "this belongs into ~/.cursor/mcp.json, or a project's .cursor/mcp.json"),
    "vscode": (
        _vscode,
        "this belongs into a project's .vscode/mcp.json, or what the command MCP: Open User Configuration opens",
    ),
    "codex": (_codex, "this belongs into ~/.codex/config.toml"),
}
