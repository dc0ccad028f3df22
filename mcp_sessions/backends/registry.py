"""The backends by URL scheme, and the function that opens one. A backend is imported when it is opened."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Protocol
from urllib.parse import quote, unquote, unquote_to_bytes

from ..errors import Invalid
from .base import Options, SessionBackend
from .environment import (
    CERTIFICATES,
    DATA_FOLDER,
    LIBPQ,
    LIBPQ_PATH_OPTIONS,
    PROXIES,
    Variable,
    absolute_path,
)

BACKENDS = {
    "sqlite": ("mcp_sessions.backends.sql:open_sqlite", ""),
    "postgresql": ("mcp_sessions.backends.sql:open_postgresql", "the extra: pip install 'mcp-sessions[postgres]'"),
    "agentos+http": ("mcp_sessions.backends.agentos:open_agentos", ""),
    "agentos+https": ("mcp_sessions.backends.agentos:open_agentos", ""),
    "guayaba": ("mcp_sessions.backends.guayaba:open_guayaba", ""),
    "guayaba+http": ("mcp_sessions.backends.guayaba:open_guayaba", ""),
    "guayaba+https": ("mcp_sessions.backends.guayaba:open_guayaba", ""),
}
"""scheme → ("module:function", how to install the backend's dependencies)."""

ENVIRONMENT: Mapping[str, Sequence[Variable]] = {
    "postgresql": LIBPQ,
    "agentos+http": (*DATA_FOLDER, *PROXIES),
    "agentos+https": (*DATA_FOLDER, *CERTIFICATES, *PROXIES),
    "guayaba": (*CERTIFICATES, *PROXIES),
    "guayaba+http": PROXIES,
    "guayaba+https": (*CERTIFICATES, *PROXIES),
}
"""scheme → the environment variables that the backend reads in addition to the settings."""


def environment_of(url: str) -> Sequence[Variable]:
    """Return the environment variables that the backend of this URL reads in addition to the settings."""
    return ENVIRONMENT.get(url.partition(":")[0], ())


# The password as libpq parses it, and also one with an unescaped @, which libpq does not accept.
_USER_AND_PASSWORD = re.compile(r"(postgresql://[^:@/]*):[^@/]*@(?:[^/?]*@)?")
_SECRET_OPTIONS = re.compile("passw|secret|scram", re.IGNORECASE)


def mask_passwords(url: str) -> str:
    """Replace each password in a backend's URL by PASSWORD.

    URLs with other credentials need no masking, since no backend opens them.
    """
    return _replace_options(
        _USER_AND_PASSWORD.sub(r"\1:PASSWORD@", url),
        lambda name, value: "PASSWORD" if _SECRET_OPTIONS.search(name) else value,
    )


def make_paths_absolute(url: str) -> str:
    """Return a PostgreSQL URL, whose passwords are masked, with absolute paths in its query; other URLs unchanged."""

    def absolute(name: str, value: str) -> str:
        path = os.fsdecode(unquote_to_bytes(value))
        if not path or name not in LIBPQ_PATH_OPTIONS or absolute_path(name, path) == path:
            return value
        return quote(os.fsencode(absolute_path(name, path)))

    return _replace_options(url, absolute) if url.startswith("postgresql:") else url


def _replace_options(url: str, new_value: Callable[[str, str], str]) -> str:
    """Return the URL with `new_value(decoded name, encoded value)` as the value of each option in its query."""
    address, mark, query = url.partition("?")
    replaced: list[str] = []
    for option in query.split("&"):
        name, equals, value = option.partition("=")
        replaced.append(f"{name}={new_value(unquote(name), value)}" if equals else name)
    return address + mark + "&".join(replaced)


class Opener(Protocol):
    """The function of a backend's package that opens the backend."""

    def __call__(self, url: str, options: Options) -> SessionBackend: ...


def open_backend(
    url: str = "sqlite:///:memory:",
    *,
    timeout: float = 25,
    token: str = "",
    keep_deleted: int = 30,
    recheck: bool = True,
    trust_env: bool = False,
    allow_http: bool = False,
    agents: Mapping[str, Sequence[str]] | None = None,
    callers_have_credentials: bool = False,
    data_folder: str = "",
) -> SessionBackend:
    """Return the backend for a URL. Enter it with `async with` to connect.

    `timeout` limits one call, in seconds. `token` is the credential for the backend's system. The embedded store
    can restore a deleted session for `keep_deleted` days. The other arguments are for backends over HTTP:

    `recheck`, `trust_env` and `allow_http` are the settings of the same names. `agents` lists each user's agents,
    by user id, for a system that does not expose a session's owner (Guayaba). With `callers_have_credentials`, each
    call uses its caller's own credential (`Caller.credential`) instead of `token`. `data_folder` is the folder for
    the backend's own files.

    Raise `Invalid` if the URL is malformed or its scheme is unknown.
    """
    scheme, separator, _ = url.partition(":")
    if scheme == "postgres":
        raise Invalid("the scheme of a PostgreSQL URL is postgresql, not postgres. Write postgresql://…")
    if scheme in ("http", "https"):
        raise Invalid(f"the URL must name the system. Write agentos+{scheme}://… or guayaba+{scheme}://…")
    if not separator:
        raise Invalid(
            "this is not a URL. For a store in a file, write sqlite:///PATH; an absolute path has a fourth slash"
        )
    if scheme not in BACKENDS:
        known = " or ".join(f"{name}:" for name in BACKENDS)
        raise Invalid(f"no backend has this URL's scheme. It must begin with {known}")
    target, install_hint = BACKENDS[scheme]
    module, _, function = target.partition(":")
    options = Options(
        timeout=timeout,
        token=token,
        keep_deleted=keep_deleted,
        recheck=recheck,
        trust_env=trust_env,
        allow_http=allow_http,
        agents=agents or {},
        callers_have_credentials=callers_have_credentials,
        data_folder=data_folder,
    )
    try:
        opener: Opener = getattr(import_module(module), function)
        return opener(url, options)  # imports the backend's own dependencies
    except ModuleNotFoundError as error:
        if not install_hint:
            raise
        raise Invalid(f"this backend needs {install_hint}") from error
