"""Which backends there are, by URL scheme; each is imported when it is asked for."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol
from urllib.parse import unquote

from ..errors import Invalid
from .base import Options, SessionBackend
from .environment import CERTIFICATES, DATA_FOLDER, LIBPQ, PROXIES, Variable

BACKENDS = {
    "sqlite": ("mcp_sessions.backends.sql:open_sqlite", ""),
    "postgresql": ("mcp_sessions.backends.sql:open_postgresql", "the extra: pip install 'mcp-sessions[postgres]'"),
    "agentos+http": ("mcp_sessions.backends.agentos:open_agentos", ""),
    "agentos+https": ("mcp_sessions.backends.agentos:open_agentos", ""),
    "guayaba": ("mcp_sessions.backends.guayaba:open_guayaba", ""),
    "guayaba+http": ("mcp_sessions.backends.guayaba:open_guayaba", ""),
    "guayaba+https": ("mcp_sessions.backends.guayaba:open_guayaba", ""),
}
"""scheme → ("module:function", how to install what it needs)."""

ENVIRONMENT: Mapping[str, Sequence[Variable]] = {
    "postgresql": LIBPQ,
    "agentos+http": (*DATA_FOLDER, *PROXIES),
    "agentos+https": (*DATA_FOLDER, *CERTIFICATES, *PROXIES),
    "guayaba": (*CERTIFICATES, *PROXIES),
    "guayaba+http": PROXIES,
    "guayaba+https": (*CERTIFICATES, *PROXIES),
}
"""scheme → the environment variables that this backend reads beside the settings; none for those left out."""


def environment_of(url: str) -> Sequence[Variable]:
    """Return the environment variables that the backend with this URL reads beside the settings."""
    return ENVIRONMENT.get(url.partition(":")[0], ())


_IN_FRONT = re.compile(r"(postgresql://[^:@/]*):[^@/]*@(?:[^/?]*@)?")  # as libpq reads it, and an @ that it wouldn't
_SECRETS = re.compile("passw|secret|scram", re.IGNORECASE)


def without_passwords(url: str) -> str:
    """A backend's URL with PASSWORD in place of each. Those that hold another credential aren't opened at all."""
    address, mark, query = _IN_FRONT.sub(r"\1:PASSWORD@", url).partition("?")
    named = (pair.partition("=") for pair in query.split("&"))
    shown = (
        f"{name}=PASSWORD" if _SECRETS.search(unquote(name)) else name + given + value for name, given, value in named
    )
    return address + mark + "&".join(shown)


class Opener(Protocol):
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
    """The backend that a URL names, not yet entered (`async with` connects it).

    `timeout` is in seconds and bounds what one call may spend, `token` is the backend's credential,
    `keep_deleted` are the days for which the embedded store can restore a deleted session. Those behind it concern
    backends over HTTP, and say what the settings of the same names do; `data_folder` is where they keep files.
    `agents` are a user's on a system that doesn't tell whose a session is (Guayaba), by user id. With
    `callers_have_credentials` each caller brings their own, as `Caller.credential`, and `token` is nobody's.
    Raises `Invalid` when the URL names none, or names it wrongly.
    """
    scheme, separator, _ = url.partition(":")
    if scheme == "postgres":
        raise Invalid("a PostgreSQL backend is written postgresql://…, with the whole word")
    if scheme in ("http", "https"):
        raise Invalid(f"the URL must say which system that is: agentos+{scheme}://… or guayaba+{scheme}://…")
    if not separator:
        raise Invalid(
            "it must be a URL; the store in a file is sqlite:///PATH, where an absolute path has a fourth slash"
        )
    if scheme not in BACKENDS:
        known = " or ".join(f"{name}:" for name in BACKENDS)
        raise Invalid(f"no backend is known by that URL's scheme. It must begin with {known}")
    place, install_hint = BACKENDS[scheme]
    module, _, function = place.partition(":")
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
        return opener(url, options)  # which imports what only this backend needs
    except ModuleNotFoundError as error:
        if not install_hint:
            raise
        raise Invalid(f"this backend needs {install_hint}") from error
