"""The configuration format of each client: how it describes a server, and how it refers to a secret."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mcp_sessions.config.settings import BadSetting
from mcp_sessions.json_documents import JsonObject


class StdioServer(NamedTuple):
    """A server that the client starts. `secrets`: variables whose values must not be in the snippet."""

    command: str
    args: list[str]
    env: dict[str, str]
    secrets: list[str]


class HttpServer(NamedTuple):
    """A server that the client calls over HTTP. `tokens`: header → the variable with its bearer token."""

    url: str
    tokens: dict[str, str]

    @property
    def secrets(self) -> list[str]:
        return [*self.tokens.values()]


Server = StdioServer | HttpServer
Reference = Callable[[str], str]


class ClientFormat(NamedTuple):
    """The configuration format of one client, with instructions for the user."""

    write: Callable[[Server, Reference], str]
    instructions: str
    """Where the snippet goes."""
    reference: Reference
    """Return the text that the client replaces by a variable's value."""
    secrets_note: str
    """How to provide the secrets named in `{}`."""
    expands: str = "(?!)"
    """What the client expands inside configuration values, as a pattern. No client has an escape for it."""
    own_sessions: str = ""
    """The URL of the backend that holds the client's own sessions, "" if there is none."""


def snippet(client: ClientFormat, server: Server) -> str:
    """Return the text for the client's configuration. Raise `BadSetting` if the client would expand part of it."""
    for name, text in _texts(server):
        expanded = re.search(client.expands, text)
        if expanded:
            raise BadSetting(
                f"{name} can't be {text[:80]!r} here: the client would expand {expanded[0][:80]!r} in it. "
                "Use a value without it."
            )
    return client.write(server, client.reference)


def _texts(server: Server) -> Iterator[tuple[str, str]]:
    """Yield the values that the client might expand, each with its name for an error."""
    if isinstance(server, HttpServer):
        yield "the URL", server.url
        return
    yield "the command", server.command
    yield from server.env.items()


def _entry(server: Server, reference: Reference) -> JsonObject:
    if isinstance(server, StdioServer):
        env = _environment(server, reference)
        return {"command": server.command, "args": [*server.args]} | ({"env": env} if env else {})
    return {"url": server.url} | _headers(server, reference)


def _environment(server: StdioServer, reference: Reference) -> dict[str, str]:
    return {**server.env, **{name: reference(name) for name in server.secrets}}


def _headers(server: HttpServer, reference: Reference) -> JsonObject:
    headers = {header: f"Bearer {reference(name)}" for header, name in server.tokens.items()}
    return {"headers": headers} if headers else {}


def _typed(server: Server, reference: Reference) -> JsonObject:
    return {"type": "stdio" if isinstance(server, StdioServer) else "http", **_entry(server, reference)}


def _mcp_servers(entry: JsonObject) -> str:
    return json.dumps({"mcpServers": {"sessions": entry}}, indent=2)


def _claude_code(server: Server, reference: Reference) -> str:
    entry = json.dumps(_typed(server, reference))
    return shlex.join(["claude", "mcp", "add-json", "--scope", "user", "sessions", entry])


def _claude_desktop(server: Server, reference: Reference) -> str:
    if isinstance(server, StdioServer):
        return _mcp_servers(_entry(server, reference))
    # Its configuration file can't describe a server over HTTP, so `mcp-remote` connects to it.
    variables = {header: header.upper().replace("-", "_") for header in server.tokens}
    flags = [part for header, name in variables.items() for part in ("--header", f"{header}:${{{name}}}")]
    flags += ["--allow-http"] if server.url.startswith("http:") else []
    env = {variables[header]: f"Bearer {reference(name)}" for header, name in server.tokens.items()}
    return _mcp_servers(_entry(StdioServer("npx", ["-y", "mcp-remote", server.url, *flags], env, []), reference))


def _cursor(server: Server, reference: Reference) -> str:
    return _mcp_servers(_entry(server, reference))


def _vscode(server: Server, reference: Reference) -> str:
    inputs: list[JsonObject] = [
        {"type": "promptString", "id": name, "description": f"{name} of mcp-sessions", "password": True}
        for name in server.secrets
    ]
    asked: JsonObject = {"inputs": inputs} if inputs else {}
    return json.dumps({**asked, "servers": {"sessions": _typed(server, reference)}}, indent=2)


def _opencode(server: Server, reference: Reference) -> str:
    if isinstance(server, StdioServer):
        env = _environment(server, reference)
        entry: JsonObject = {"type": "local", "command": [server.command, *server.args]}
        entry |= {"environment": env} if env else {}
    else:
        entry = {"type": "remote", **_entry(server, reference)}
    return json.dumps({"$schema": "https://opencode.ai/config.json", "mcp": {"sessions": entry}}, indent=2)


def _gemini(server: Server, reference: Reference) -> str:
    # Without a type, it uses the older transport HTTP+SSE for a URL.
    typed: JsonObject = {} if isinstance(server, StdioServer) else {"type": "http"}
    return _mcp_servers(typed | _entry(server, reference))


def _qwen(server: Server, reference: Reference) -> str:
    if isinstance(server, StdioServer):
        return _mcp_servers(_entry(server, reference))
    return _mcp_servers({"httpUrl": server.url, **_headers(server, reference)})


def _copilot(server: Server, reference: Reference) -> str:
    kind = "local" if isinstance(server, StdioServer) else "http"
    return _mcp_servers({"type": kind, **_entry(server, reference), "tools": ["*"]})


def _codex(server: Server, reference: Reference) -> str:
    if isinstance(server, StdioServer):
        lines = [f"command = {_toml(server.command)}", f"args = {_toml_list(server.args)}"]
        lines += [f"env_vars = {_toml_list(server.secrets)}"] if server.secrets else []
        lines += _table("env", server.env)
    else:
        bearer = server.tokens.get("Authorization")
        others = {header: reference(name) for header, name in server.tokens.items() if header != "Authorization"}
        lines = [f"url = {_toml(server.url)}"]
        lines += [f"bearer_token_env_var = {_toml(bearer)}"] if bearer else []
        lines += [f'# {name} must contain "Bearer " and the token' for name in others.values()]
        lines += _table("env_http_headers", others)
    return "\n".join(["[mcp_servers.sessions]", *lines])


def _table(name: str, values: Mapping[str, str]) -> list[str]:
    rows = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return ["", f"[mcp_servers.sessions.{name}]", *rows] if rows else []


def _toml_list(texts: list[str]) -> str:
    return f"[{', '.join(map(_toml, texts))}]"


def _toml(text: str) -> str:
    """Return a TOML basic string: a JSON string, except that DEL and non-ASCII characters are escaped differently."""
    string = json.dumps(text, ensure_ascii=False)
    return "".join(char if " " <= char <= "~" else f"\\U{ord(char):08X}" for char in string)


def _placeholder(name: str) -> str:
    return f"REPLACE-WITH-YOUR-{name}"


_IN_ENVIRONMENT = "Set {} in the environment in which the client is started."
_BRACES = r"\$\{[^}]*\}"
_DOLLAR = r"\$(\w+|\{[^}]+\})"

# Tested with Claude Code 2.1, Codex 0.171, opencode 1.18, Gemini CLI 0.61, Qwen Code 0.15, Copilot CLI 1.0.
# From their documentation only: Claude Desktop, Cursor, VS Code.
CLIENTS: Mapping[str, ClientFormat] = {
    "claude-code": ClientFormat(
        _claude_code,
        "run this in a shell; it adds the server for all of your projects",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _BRACES,
        own_sessions="claude-code:",
    ),
    "claude-desktop": ClientFormat(
        _claude_desktop,
        "add this to claude_desktop_config.json (Settings, Developer, Edit Config), in "
        "~/Library/Application Support/Claude, %APPDATA%\\Claude or ~/.config/Claude",
        _placeholder,
        "Replace each REPLACE-WITH-YOUR-… with your own value.",
    ),
    "cursor": ClientFormat(
        _cursor,
        "add this to ~/.cursor/mcp.json, or a project's .cursor/mcp.json",
        "${{env:{}}}".format,
        _IN_ENVIRONMENT,
        _BRACES,
    ),
    "vscode": ClientFormat(
        _vscode,
        "add this to a project's .vscode/mcp.json, or to the file that the command MCP: Open User Configuration opens",
        "${{input:{}}}".format,
        "VS Code asks for {} when it first starts the server.",
        _BRACES,
    ),
    "codex": ClientFormat(_codex, "add this to ~/.codex/config.toml", str, _IN_ENVIRONMENT, own_sessions="codex:"),
    "opencode": ClientFormat(
        _opencode,
        "add this to ~/.config/opencode/opencode.json, or a project's opencode.json",
        "{{env:{}}}".format,
        _IN_ENVIRONMENT,
        r"\{(env|file):[^}]*\}",
        own_sessions="opencode:",
    ),
    "gemini": ClientFormat(
        _gemini,
        "add this to ~/.gemini/settings.json, or a project's .gemini/settings.json",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _DOLLAR,
    ),
    "qwen": ClientFormat(
        _qwen,
        "add this to ~/.qwen/settings.json, or a project's .qwen/settings.json",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _DOLLAR,
    ),
    "copilot": ClientFormat(
        _copilot,
        "add this to ~/.copilot/mcp-config.json, or a project's .mcp.json",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _DOLLAR,
    ),
}
