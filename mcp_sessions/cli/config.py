"""`mcp-sessions config CLIENT`: print a client's configuration for this server, with these settings."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.environment import absolute_path
from mcp_sessions.backends.layers.many import combine_backends
from mcp_sessions.backends.options import HttpOptions
from mcp_sessions.backends.registry import LOCAL, environment_of, make_paths_absolute, mask_passwords
from mcp_sessions.cli.client_formats import CLIENTS, ClientFormat, HttpServer, Server, StdioServer, snippet
from mcp_sessions.cli.refusals import refuse, refuse_backend
from mcp_sessions.config.backend_addresses import read_address, read_addresses
from mcp_sessions.config.build import (
    LOOPBACK_HOSTS,
    build_backends,
    build_server,
    refuse_http_settings,
    refuse_user_scoping,
)
from mcp_sessions.config.settings import SETTINGS, BadSetting, Settings, is_url
from mcp_sessions.errors import SessionsError
from mcp_sessions.sqlite_url import path_of, url_of


def run(settings: Settings, *, client: str) -> int:
    """Print only the snippet on stdout, and where it goes on stderr. Return the exit status."""
    names_own = _names_own_sessions(settings, CLIENTS[client])
    if names_own:
        settings = replace(settings, backend=(CLIENTS[client].own_sessions,))
    try:
        backends = build_backends(settings)
        server = _http_server(settings) if settings.transport == "http" else _stdio_server(backends, settings)
        _refuse_unusable(combine_backends(backends), settings)
        text = snippet(CLIENTS[client], server)
    except BadSetting as error:
        return refuse(str(error))
    except SessionsError as error:
        return refuse_backend(error)
    notes = list(_notes(CLIENTS[client], server, text))
    if names_own:
        notes.append("The server shows the client's own sessions. To choose others, add --backend URL.")
    elif not settings.is_backend_given and _is_open(settings):
        notes.append("To also show the sessions of Claude Code, Codex and opencode, add --backend local:.")
    print(*notes, file=sys.stderr, flush=True)
    print(text)
    return 0


def _refuse_unusable(backend: SessionBackend, settings: Settings) -> None:
    """Raise `BadSetting` if no server can be built with these settings."""
    authenticated = _is_authenticated(settings)
    refuse_user_scoping(backend, settings, authenticated=authenticated)
    if "sessions" not in settings.toolsets or Capability.LIST_SESSIONS not in backend.capabilities:
        # It may have no tool. Building it loads the SDK, which takes most of the time of this command.
        build_server(backend, settings, authenticated=authenticated)


def _names_own_sessions(settings: Settings, client: ClientFormat) -> bool:
    """Return whether the snippet is for the client's own sessions."""
    return bool(client.own_sessions) and not settings.is_backend_given and _is_open(settings)


def _is_open(settings: Settings) -> bool:
    """Return whether agents' own sessions can be shown, which can't be limited to a user."""
    return settings.transport == "stdio" and not settings.user


def _notes(client: ClientFormat, server: Server, text: str) -> Iterator[str]:
    """Yield where the snippet goes and what is left to do."""
    yield f"mcp-sessions: {client.instructions}."
    if server.secrets:
        yield client.secrets_note.format(", ".join(server.secrets))
    if "PASSWORD@" in text or "=PASSWORD" in text:
        yield "Replace PASSWORD with your own."
    if isinstance(server, HttpServer):
        yield "Start the server yourself: mcp-sessions serve, with the same settings."


def _stdio_server(backends: Mapping[str, SessionBackend], settings: Settings) -> StdioServer:
    refuse_http_settings(settings)
    env, secrets = _settings_variables(settings)
    for address in read_addresses(settings.backend):
        options = backends[address.name].options
        uses_proxy = isinstance(options, HttpOptions) and options.trust_env
        more, other_secrets = _backend_variables(address.url, uses_proxy=uses_proxy)
        env |= more
        secrets += other_secrets
    if LOCAL in settings.backend:
        env |= _backend_variables(LOCAL, uses_proxy=False)[0]
    if settings.overlay.startswith("postgresql:"):
        more, other_secrets = _backend_variables(settings.overlay, uses_proxy=False)
        env |= more
        secrets += other_secrets
    return StdioServer(*_command(Path(sys.argv[0])), env, list(dict.fromkeys(secrets)))


def _command(script: Path) -> tuple[str, list[str]]:
    """Return the command and arguments that start this program.

    The path is absolute, since clients that are not started from a shell may have a shorter PATH.
    """
    if script.stem == "mcp-sessions":
        return str(script.absolute()), []
    return sys.executable, ["-m", "mcp_sessions"]


def _settings_variables(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return the variables that set these settings, and the names of those with secrets.

    The backend is always included, since its default depends on the environment, and the client's may differ.
    """
    given = settings.variables()
    secrets: list[str] = []
    for setting in SETTINGS.values():
        text = given.get(setting.variable, "")
        if text and not setting.flag:
            secrets.append(setting.variable)
            del given[setting.variable]
        elif text and "FILE" in setting.metavar and text != "-" and "://" not in text:
            given[setting.variable] = str(Path(text).absolute())
    overlay = SETTINGS["overlay"].variable
    if given.get(overlay, "off") != "off":
        given[overlay] = _from_anywhere(mask_passwords(given[overlay]))
    for variable in settings.backend_credentials:
        secrets.append(variable)
        del given[variable]
    addresses = [read_address(text) for text in settings.backend]
    shown = [address._replace(url=_from_anywhere(mask_passwords(address.url))) for address in addresses]
    given[SETTINGS["backend"].variable] = " ".join(map(str, shown))
    return given, secrets


def _backend_variables(url: str, *, uses_proxy: bool) -> tuple[dict[str, str], list[str]]:
    """Return the variables that the backend itself reads from this environment, and the names of those with secrets."""
    given: dict[str, str] = {}
    secrets: list[str] = []
    for variable in environment_of(url):
        text = os.environ.get(variable.name, "")
        if not text or (variable.is_proxy and not uses_proxy):
            continue
        if variable.is_secret or (variable.is_proxy and "@" in text):
            secrets.append(variable.name)
        else:
            given[variable.name] = absolute_path(variable.name, text) if variable.is_path else text
    return given, secrets


def _from_anywhere(url: str) -> str:
    """Return the backend's URL with absolute paths, since a client starts the server in another folder."""
    path = path_of(url)
    if path not in ("", ":memory:"):
        _, mark, query = url.partition("?")
        url = url_of(Path(path).expanduser().absolute()) + mark + query
    return make_paths_absolute(url)


def _is_authenticated(settings: Settings) -> bool:
    return bool(settings.tokens or settings.jwt_issuer)


def _http_server(settings: Settings) -> HttpServer:
    from mcp_sessions.transports.auth.access import access_of
    from mcp_sessions.transports.http.server import address_of

    address_of(settings.host, access_of(settings))
    tokens = {"Authorization": "SESSIONS_TOKEN"} if _is_authenticated(settings) else {}
    if settings.own_credentials:
        tokens["X-Backend-Authorization"] = "SESSIONS_BACKEND_TOKEN"
    return HttpServer(_url(settings), tokens)


def _url(settings: Settings) -> str:
    if is_url(settings.jwt_audience):
        return settings.jwt_audience
    if settings.allowed_host:
        host = settings.allowed_host[0]
        if urlsplit(f"//{host}").hostname not in LOOPBACK_HOSTS:
            return f"https://{host}/mcp"
    if not settings.port:
        raise BadSetting("--port can't be 0 here, since each start would use another port. Set a fixed port.")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}/mcp"
