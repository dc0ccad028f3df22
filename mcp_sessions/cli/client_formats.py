"""How each client's configuration names a server: its format, and how it refers to a secret."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mcp_sessions.config.settings import BadSetting
from mcp_sessions.json_documents import JsonObject


class Started(NamedTuple):
    """A server that the client starts. `secrets` are the names of variables whose values no snippet may hold."""

    command: str
    args: list[str]
    env: dict[str, str]
    secrets: list[str]


class Called(NamedTuple):
    """A server that the client calls. `tokens` maps a header to the variable that holds its bearer token."""

    url: str
    tokens: dict[str, str]

    @property
    def secrets(self) -> list[str]:
        return [*self.tokens.values()]


Server = Started | Called
Refer = Callable[[str], str]


class Client(NamedTuple):
    """A client: what writes its snippet, where that goes, and how it treats text and secrets."""

    write: Callable[[Server, Refer], str]
    place: str
    refer: Refer
    """Return what stands for a variable with a secret."""
    secrets_note: str
    """What to do about the secrets named in `{}`."""
    replaces: str = "(?!)"
    """A pattern of what the client replaces in the texts of its configuration; none of them can be escaped."""


def snippet(client: Client, server: Server) -> str:
    """Return what to put into a client's configuration. Raise `BadSetting` for a text that it would not keep."""
    for name, text in _texts(server):
        replaced = re.search(client.replaces, text)
        if replaced:
            raise BadSetting(
                f"{name} can't be {text[:80]!r} here: the client would replace {replaced[0][:80]!r} in it. "
                "It accepts a text without that."
            )
    return client.write(server, client.refer)


def _texts(server: Server) -> Iterator[tuple[str, str]]:
    if isinstance(server, Called):
        yield "the URL", server.url
        return
    yield "the command", server.command
    yield from server.env.items()


def _entry(server: Server, refer: Refer) -> JsonObject:
    if isinstance(server, Started):
        env = _environment(server, refer)
        return {"command": server.command, "args": [*server.args]} | ({"env": env} if env else {})
    return {"url": server.url} | _headers(server, refer)


def _environment(server: Started, refer: Refer) -> dict[str, str]:
    return {**server.env, **{name: refer(name) for name in server.secrets}}


def _headers(server: Called, refer: Refer) -> JsonObject:
    headers = {header: f"Bearer {refer(name)}" for header, name in server.tokens.items()}
    return {"headers": headers} if headers else {}


def _typed(server: Server, refer: Refer) -> JsonObject:
    return {"type": "stdio" if isinstance(server, Started) else "http", **_entry(server, refer)}


def _mcp_servers(entry: JsonObject) -> str:
    return json.dumps({"mcpServers": {"sessions": entry}}, indent=2)


def _claude_code(server: Server, refer: Refer) -> str:
    entry = json.dumps(_typed(server, refer))
    return shlex.join(["claude", "mcp", "add-json", "--scope", "user", "sessions", entry])


def _claude_desktop(server: Server, refer: Refer) -> str:
    if isinstance(server, Started):
        return _mcp_servers(_entry(server, refer))
    # Its file can't name a server over HTTP.
    variables = {header: header.upper().replace("-", "_") for header in server.tokens}
    flags = [part for header, name in variables.items() for part in ("--header", f"{header}:${{{name}}}")]
    flags += ["--allow-http"] if server.url.startswith("http:") else []
    env = {variables[header]: f"Bearer {refer(name)}" for header, name in server.tokens.items()}
    return _mcp_servers(_entry(Started("npx", ["-y", "mcp-remote", server.url, *flags], env, []), refer))


def _cursor(server: Server, refer: Refer) -> str:
    return _mcp_servers(_entry(server, refer))


def _vscode(server: Server, refer: Refer) -> str:
    inputs: list[JsonObject] = [
        {"type": "promptString", "id": name, "description": f"{name} of mcp-sessions", "password": True}
        for name in server.secrets
    ]
    asked: JsonObject = {"inputs": inputs} if inputs else {}
    return json.dumps({**asked, "servers": {"sessions": _typed(server, refer)}}, indent=2)


def _opencode(server: Server, refer: Refer) -> str:
    if isinstance(server, Started):
        env = _environment(server, refer)
        entry: JsonObject = {"type": "local", "command": [server.command, *server.args]}
        entry |= {"environment": env} if env else {}
    else:
        entry = {"type": "remote", **_entry(server, refer)}
    return json.dumps({"$schema": "https://opencode.ai/config.json", "mcp": {"sessions": entry}}, indent=2)


def _gemini(server: Server, refer: Refer) -> str:
    # Without a type it takes a URL for the older transport, HTTP+SSE.
    typed: JsonObject = {} if isinstance(server, Started) else {"type": "http"}
    return _mcp_servers(typed | _entry(server, refer))


def _qwen(server: Server, refer: Refer) -> str:
    if isinstance(server, Started):
        return _mcp_servers(_entry(server, refer))
    return _mcp_servers({"httpUrl": server.url, **_headers(server, refer)})


def _copilot(server: Server, refer: Refer) -> str:
    kind = "local" if isinstance(server, Started) else "http"
    return _mcp_servers({"type": kind, **_entry(server, refer), "tools": ["*"]})


def _codex(server: Server, refer: Refer) -> str:
    if isinstance(server, Started):
        lines = [f"command = {_toml(server.command)}", f"args = {_toml_list(server.args)}"]
        lines += [f"env_vars = {_toml_list(server.secrets)}"] if server.secrets else []
        lines += _table("env", server.env)
    else:
        bearer = server.tokens.get("Authorization")
        others = {header: refer(name) for header, name in server.tokens.items() if header != "Authorization"}
        lines = [f"url = {_toml(server.url)}"]
        lines += [f"bearer_token_env_var = {_toml(bearer)}"] if bearer else []
        lines += [f'# {name} must hold "Bearer " and the token' for name in others.values()]
        lines += _table("env_http_headers", others)
    return "\n".join(["[mcp_servers.sessions]", *lines])


def _table(name: str, values: Mapping[str, str]) -> list[str]:
    rows = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return ["", f"[mcp_servers.sessions.{name}]", *rows] if rows else []


def _toml_list(texts: list[str]) -> str:
    return f"[{', '.join(map(_toml, texts))}]"


def _toml(text: str) -> str:
    """A basic string; JSON's is one too, but for what isn't ASCII and DEL."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if " " <= char <= "~" else f"\\U{ord(char):08X}" for char in quoted)


def _placeholder(name: str) -> str:
    return f"REPLACE-WITH-YOUR-{name}"


_IN_ENVIRONMENT = "Set {} in the environment that the client is started in."
_BRACES = r"\$\{[^}]*\}"
_DOLLAR = r"\$(\w+|\{[^}]+\})"

# Run with the clients: Claude Code 2.1, Codex 0.171, opencode 1.18, Gemini CLI 0.61, Qwen Code 0.15, Copilot CLI 1.0.
# Of the others the documentation: Claude Desktop, Cursor, VS Code.
CLIENTS: Mapping[str, Client] = {
    "claude-code": Client(
        _claude_code,
        "run this in a shell; it adds the server for all of your projects",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _BRACES,
    ),
    "claude-desktop": Client(
        _claude_desktop,
        "add this to claude_desktop_config.json (Settings, Developer, Edit Config), in "
        "~/Library/Application Support/Claude, %APPDATA%\\Claude or ~/.config/Claude",
        _placeholder,
        "Where it says REPLACE-WITH-, put yours.",
    ),
    "cursor": Client(
        _cursor,
        "add this to ~/.cursor/mcp.json, or a project's .cursor/mcp.json",
        "${{env:{}}}".format,
        _IN_ENVIRONMENT,
        _BRACES,
    ),
    "vscode": Client(
        _vscode,
        "add this to a project's .vscode/mcp.json, or what the command MCP: Open User Configuration opens",
        "${{input:{}}}".format,
        "VS Code asks for {} when it first starts the server.",
        _BRACES,
    ),
    "codex": Client(_codex, "add this to ~/.codex/config.toml", str, _IN_ENVIRONMENT),
    "opencode": Client(
        _opencode,
        "add this to ~/.config/opencode/opencode.json, or a project's opencode.json",
        "{{env:{}}}".format,
        _IN_ENVIRONMENT,
        r"\{(env|file):[^}]*\}",
    ),
    "gemini": Client(
        _gemini,
        "add this to ~/.gemini/settings.json, or a project's .gemini/settings.json",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _DOLLAR,
    ),
    "qwen": Client(
        _qwen,
        "add this to ~/.qwen/settings.json, or a project's .qwen/settings.json",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _DOLLAR,
    ),
    "copilot": Client(
        _copilot,
        "add this to ~/.copilot/mcp-config.json, or a project's .mcp.json",
        "${{{}}}".format,
        _IN_ENVIRONMENT,
        _DOLLAR,
    ),
}
