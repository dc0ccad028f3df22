"""`mcp-sessions config CLIENT`: what makes a client start this server, or call it over HTTP, with these settings."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from mcp_sessions.backends.registry import environment_of, mask_passwords
from mcp_sessions.cli.client_formats import CLIENTS, Called, Client, Server, Started, snippet
from mcp_sessions.cli.refusals import refuse, refuse_backend
from mcp_sessions.config.build import (
    THIS_MACHINE,
    backend_of,
    require_nothing_of_http,
    server_of,
)
from mcp_sessions.config.settings import OPTIONS, BadSetting, Settings, is_url
from mcp_sessions.errors import SessionsError
from mcp_sessions.sqlite_url import path_of, url_of


def run(settings: Settings, *, client: str) -> int:
    """Print the snippet, and nothing else, on stdout; on stderr a line that says where it goes."""
    try:
        backend = backend_of(settings)
        server = _called(settings) if settings.transport == "http" else _started(settings)
        server_of(backend, settings, authenticated=_is_authenticated(settings))
        shown = snippet(CLIENTS[client], server)
    except BadSetting as error:
        return refuse(str(error))
    except SessionsError as error:
        return refuse_backend(error)
    print(*_notes(CLIENTS[client], server, shown), file=sys.stderr, flush=True)
    print(shown)
    return 0


def _notes(client: Client, server: Server, shown: str) -> Iterator[str]:
    """Yield what is left to do."""
    yield f"mcp-sessions: {client.place}."
    if server.secrets:
        yield client.secrets_note.format(", ".join(server.secrets))
    if "PASSWORD@" in shown or "=PASSWORD" in shown:
        yield "Where it says PASSWORD, put yours."
    if isinstance(server, Called):
        yield "The server itself is yours to start: mcp-sessions serve, with the same settings."


def _started(settings: Settings) -> Started:
    require_nothing_of_http(settings)
    env, secrets = _of_settings(settings)
    more, other_secrets = _of_environment(settings)
    return Started(*_command(Path(sys.argv[0])), env | more, secrets + other_secrets)


def _command(script: Path) -> tuple[str, list[str]]:
    """What runs now, by its absolute path: clients that aren't started in a shell find little on theirs."""
    if script.stem == "mcp-sessions":
        return str(script.absolute()), []
    return sys.executable, ["-m", "mcp_sessions"]


def _of_settings(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return the variables that make these settings, and the names of those with secrets.

    The backend is always among them: what its default is depends on the environment, and a client has another one.
    """
    given = settings.variables()
    secrets: list[str] = []
    for option in OPTIONS.values():
        text = given.get(option.variable, "")
        if text and not option.flag:
            secrets.append(option.variable)
            del given[option.variable]
        elif text and "FILE" in option.metavar and text != "-" and "://" not in text:
            given[option.variable] = str(Path(text).absolute())
    given[OPTIONS["backend"].variable] = mask_passwords(_from_anywhere(settings.backend))
    return given, secrets


def _of_environment(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return what the backend reads of this environment by itself, and the names of those with secrets."""
    given: dict[str, str] = {}
    secrets: list[str] = []
    for variable in environment_of(settings.backend):
        text = os.environ.get(variable.name, "")
        if not text or (variable.is_proxy and not settings.trust_env):
            continue
        if variable.is_secret or (variable.is_proxy and "@" in text):
            secrets.append(variable.name)
        else:
            given[variable.name] = str(Path(text).absolute()) if variable.is_path and Path(text).exists() else text
    return given, secrets


def _from_anywhere(url: str) -> str:
    """A client starts the server in a folder of its own."""
    path = path_of(url)
    if path in ("", ":memory:"):
        return url
    return url_of(Path(path).expanduser().absolute())


def _is_authenticated(settings: Settings) -> bool:
    return bool(settings.tokens or settings.jwt_issuer)


def _called(settings: Settings) -> Called:
    from mcp_sessions.transports.auth.access import access_of
    from mcp_sessions.transports.http.server import address_of

    address_of(settings.host, access_of(settings))
    tokens = {"Authorization": "SESSIONS_TOKEN"} if _is_authenticated(settings) else {}
    if settings.own_credentials:
        tokens["X-Backend-Authorization"] = "SESSIONS_BACKEND_TOKEN"
    return Called(_url(settings), tokens)


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
