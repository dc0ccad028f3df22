"""The backends by URL scheme, and the function that opens one."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from ..errors import Invalid
from .agentos import AGENTOS, AGENTOS_TLS
from .backend_type import BackendType, OpenContext
from .claude_code import CLAUDE_CODE
from .codex import CODEX
from .environment import LIBPQ_PATH_OPTIONS, Variable, absolute_path
from .guayaba import GUAYABA, GUAYABA_PLAIN
from .opencode import OPENCODE, OPENCODE_DATABASE, OPENCODE_TLS
from .options import Option, options_of, parse_options, split_options
from .sql import POSTGRESQL, SQLITE

if TYPE_CHECKING:
    from .base import SessionBackend

BACKENDS: dict[str, BackendType[Any]] = {
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "agentos+http": AGENTOS,
    "agentos+https": AGENTOS_TLS,
    "claude-code": CLAUDE_CODE,
    "codex": CODEX,
    "guayaba": GUAYABA,
    "guayaba+http": GUAYABA_PLAIN,
    "guayaba+https": GUAYABA,
    "opencode+http": OPENCODE,
    "opencode+https": OPENCODE_TLS,
    "opencode": OPENCODE_DATABASE,
}
"""scheme → backend. The dependencies of a backend are imported when it is opened."""


def environment_of(url: str) -> Sequence[Variable]:
    """Return the environment variables that the backend of this URL reads in addition to the settings."""
    backend = BACKENDS.get(url.partition(":")[0])
    return backend.environment if backend else ()


def known_options(url: str) -> Mapping[str, Option[Any]]:
    """Return the options of the backend of this URL, by name."""
    backend = BACKENDS.get(url.partition(":")[0])
    return options_of(backend.options) if backend else {}


def options_in(url: str) -> Mapping[str, str]:
    """Return the text of each option in this URL. Raise `Invalid` for an option that is given twice."""
    return split_options(url, known_options(url))[1]


def system_of(url: str) -> str:
    """Return what identifies a backend's system: its address, and the options that select an account or a database.

    It has no credential, and is the same for all URLs of one system.
    """
    backend = _backend_type(url)
    known = options_of(backend.options)
    address, texts = split_options(url, known)
    if address == url.partition(":")[0] + ":":
        address = backend.default_address or address
    scheme, _, rest = address.partition("?")[0].partition(":")
    parts = urlsplit(rest)
    host = parts.netloc.rpartition("@")[2].lower()
    default_port = {"http": ":80", "https": ":443"}.get(scheme.partition("+")[2], ":")
    selected = "&".join(f"{name}={texts[name].lower()}" for name in sorted(texts) if known[name].selects)
    return f"{scheme}://{host.removesuffix(default_port)}{parts.path.rstrip('/')}{'?' if selected else ''}{selected}"


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
    """Return a backend's URL with absolute paths in its query. Its passwords must be masked already."""
    libpq = LIBPQ_PATH_OPTIONS if url.startswith("postgresql:") else frozenset[str]()
    ours = {name for name, option in known_options(url).items() if option.is_path}

    def absolute(name: str, value: str) -> str:
        path = os.fsdecode(unquote_to_bytes(value.replace("+", " ") if name in ours else value))
        if not path or name not in libpq | ours or absolute_path(name, path) == path:
            return value
        return quote(os.fsencode(absolute_path(name, path)))

    return _replace_options(url, absolute)


def _replace_options(url: str, new_value: Callable[[str, str], str]) -> str:
    """Return the URL with `new_value(decoded name, encoded value)` as the value of each option in its query."""
    address, mark, query = url.partition("?")
    replaced: list[str] = []
    for option in query.split("&"):
        name, equals, value = option.partition("=")
        replaced.append(f"{name}={new_value(unquote(name), value)}" if equals else name)
    return address + mark + "&".join(replaced)


def open_backend(
    url: str = "sqlite:///:memory:",
    *,
    token: str = "",
    token_variable: str = "MCP_SESSIONS_TOKEN",
    callers_have_credentials: bool = False,
    read_only: bool = False,
    data_folder: str = "",
    **options: Any,
) -> "SessionBackend":
    """Return the backend for a URL. Enter it with `async with` to connect.

    `token` is the credential for the backend's system, and `token_variable` its environment variable, which error
    messages name. With `callers_have_credentials`, each call uses its caller's own credential (`Caller.credential`)
    instead. `read_only` means that nothing will be changed, so entering the backend creates nothing. `data_folder` is
    the folder for the backend's own files. `options` are the backend's options, such as `timeout`; those in the URL's
    query win.

    Raise `Invalid` if the URL is malformed, its scheme is unknown, or it has an option that the backend lacks.
    """
    backend = _backend_type(url)
    address, texts = split_options(url, options_of(backend.options))
    values = backend.options(**options | parse_options(backend.options, texts))
    context = OpenContext(
        token=token,
        token_variable=token_variable,
        callers_have_credentials=callers_have_credentials,
        read_only=read_only,
        data_folder=data_folder,
    )
    try:
        return backend.open(address, values, context)  # imports the backend's own dependencies
    except ModuleNotFoundError as error:
        if not backend.install_hint:
            raise
        raise Invalid(f"this backend needs {backend.install_hint}") from error


def _backend_type(url: str) -> BackendType[Any]:
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
    return BACKENDS[scheme]
