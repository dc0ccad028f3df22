"""The settings: each one's flag, environment variable, parser and help. `--help` and docs/configuration.md use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ..backends.options import TIMEOUT, boolean, number, options_of
from ..backends.registry import BACKENDS
from ..server.confirm_mode import ConfirmMode
from . import parsers
from .backend_addresses import read_addresses, split_backends
from .default_paths import path_in_cache_folder, url_in_data_folder
from .parsers import BadSetting, is_url

__all__ = ["OVER_HTTP", "SETTINGS", "BadSetting", "Setting", "Settings", "is_url"]

PREFIX = "MCP_SESSIONS_"
Transport = Literal["stdio", "http"]
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
OVER_HTTP = "over HTTP"
_GROUPS = {"user": "general", "toolsets": "tools", "backend": "backend", "host": OVER_HTTP}
"""The first setting of each group, and the group's title."""
_OPTION_TYPES = tuple(dict.fromkeys(backend.options for backend in BACKENDS.values()))


@dataclass(frozen=True)
class Setting:
    """The command-line flag and environment variable of one field of `Settings`. `flag` is "" if there is none."""

    group: str
    variable: str
    flag: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    shown_default: str
    separator: str
    """What separates the values of a flag that may be repeated, "" for other flags."""
    is_alias: bool
    """Whether this is an option of the backend, which `--backend` can set too."""


def _setting(
    default: Any,
    metavar: str,
    help: str,
    parse: Callable[[str], Any] = str,
    *,
    secret: bool = False,
    shown: str = "",
    separator: str = "",
) -> Any:
    metadata = {"metavar": metavar, "help": help, "parse": parse, "secret": secret, "shown": shown}
    metadata["separator"] = separator
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _default_text(default: object) -> str:
    return "none" if default in ("", ()) else "off" if default is False else str(default)


def _alias(name: str) -> Any:
    """Return a setting for an option of the backend. Its value is None if it is not given.

    These settings are older than the options in the backend's URL.
    """
    option = next(known[name] for known in map(options_of, _OPTION_TYPES) if name in known)
    metadata = {
        "metavar": "" if option.default is False else option.metavar,
        "help": f"the same as ?{name}={option.metavar} in --backend: {option.help}",
        "parse": parsers.not_empty if option.is_path else option.parse,
        "secret": False,
        "shown": "on" if option.default is True else "none" if option.is_path else _default_text(option.default),
        "is_alias": True,
    }
    return field(default=None, metadata=metadata)


@dataclass(frozen=True, repr=False)
class Settings:
    """The settings of a server. `repr` shows no field, since a token or a URL's password would be in it."""

    user: str = _setting("", "ID", "see and change only this user's sessions", parsers.user)
    session: str = _setting("", "ID", 'the session that "current" means if the client names none')
    transport: Transport = _setting(
        "stdio",
        "HOW",
        "how clients connect to the server: stdio, http (Streamable HTTP at /mcp)",
        parsers.choice("stdio", "http"),
    )
    log_level: str = _setting(
        "WARNING", "LEVEL", f"lowest level of messages to log on stderr: {', '.join(_LEVELS)}", parsers.choice(*_LEVELS)
    )
    toolsets: tuple[str, ...] = _setting(
        parsers.TOOLSET_NAMES[:3],
        "A,B",
        f"groups of tools to offer: all, or any of {', '.join(parsers.TOOLSET_NAMES)}",
        parsers.toolsets,
        shown="sessions,history,state",
    )
    read_only: bool = _setting(False, "", "offer only tools that read", boolean)
    apps: bool = _setting(
        True, "on|off", "let clients that support MCP Apps show lists and searches as a page", boolean, shown="on"
    )
    confirm: ConfirmMode = _setting(
        "auto",
        "HOW",
        "how a deletion is confirmed: auto (by the user if the client can ask, else by a code given to the model), "
        "user (by the user only), code (by the code only), off (not at all)",
        parsers.choice("auto", "user", "code", "off"),
    )
    max_chars: int = _setting(
        24_000, "N", "maximum number of characters in a result's text, 2000 to 400000", number(int, 2_000, 400_000)
    )
    redact: bool = _setting(
        True,
        "on|off",
        "show known kinds of credentials in transcripts as [redacted: KIND]",
        boolean,
        shown="on",
    )
    backend: tuple[str, ...] = _setting(
        lambda: (url_in_data_folder("sessions.db"),),
        "[NAME=]URL",
        "where the sessions are; repeat it with names for several backends; NAME:ro=URL is read-only",
        split_backends,
        shown="sqlite:///USER_DATA_DIR/mcp-sessions/sessions.db",
        separator="\n",
    )
    overlay: str = _setting(
        lambda: url_in_data_folder("overlay.db"),
        "URL|off",
        "where archive, state, metadata and summary are kept for systems that can't store them: sqlite:///PATH, "
        "postgresql://…, or off",
        parsers.not_empty_or_off,
        shown="sqlite:///USER_DATA_DIR/mcp-sessions/overlay.db",
    )
    index: str = _setting(
        lambda: path_in_cache_folder("index.db"),
        "PATH|off",
        "file of the search index for systems without one; off makes each search read the sessions",
        parsers.not_empty_or_off,
        shown="USER_CACHE_DIR/mcp-sessions/index.db",
    )
    token: str = _setting(
        "", "", "credential for the backend, sent as a bearer token (the embedded store needs none)", secret=True
    )
    timeout: float = _setting(TIMEOUT.default, TIMEOUT.metavar, TIMEOUT.help, TIMEOUT.parse, shown="25")
    keep_deleted: int | None = _alias("keep_deleted")
    recheck: bool | None = _alias("recheck")
    trust_env: bool | None = _alias("trust_env")
    allow_http: bool | None = _alias("allow_http")
    agents: str | None = _alias("agents")
    host: str = _setting(
        "127.0.0.1", "H", "address to serve HTTP on; an address that others can reach needs authentication"
    )
    port: int = _setting(8000, "N", "port to serve HTTP on, 0 to 65535; 0 picks a free one", number(int, 0, 65_535))
    allowed_host: tuple[str, ...] = _setting(
        (),
        "H",
        "over HTTP: host in the URL that clients call; may be repeated or a comma-separated list",
        parsers.hosts,
    )
    tokens: str = _setting(
        "", "FILE", "over HTTP: file with a line from `mcp-sessions token new` for each token", parsers.not_empty
    )
    jwt_issuer: str = _setting("", "URL", "over HTTP: accept JWTs of this issuer (their `iss`)", parsers.not_empty)
    jwt_audience: str = _setting(
        "", "A", "the `aud` that a JWT must have: this server's URL, as clients call it", parsers.not_empty
    )
    jwt_jwks: str = _setting("", "URL|FILE", "the issuer's public keys, as a JWKS", parsers.not_empty)
    jwt_algorithms: tuple[str, ...] = _setting(
        ("RS256",), "A,B", "accepted algorithms of a JWT's signature", parsers.algorithms, shown="RS256"
    )
    backend_tokens: str = _setting(
        "",
        "FILE",
        "JSON object that maps each subject to its credential, or to its credentials by backend name",
        parsers.not_empty,
    )
    own_credentials: bool = _setting(
        False, "", "callers send their own credential for the backend, in X-Backend-Authorization", boolean
    )
    max_body: int = _setting(
        2_097_152, "BYTES", "over HTTP: size of the largest request, 1024 to 104857600", number(int, 1024, 104_857_600)
    )
    max_concurrent: int = _setting(
        64,
        "N",
        "over HTTP: maximum number of concurrent requests, 1 to 10000; others get 503 with Retry-After",
        number(int, 1, 10_000),
    )
    rate: int = _setting(
        1_200,
        "N",
        "over HTTP: calls per minute of one caller, 0 to 1000000; 0 sets no limit",
        number(int, 0, 1_000_000),
    )
    audit: str = _setting(
        "",
        "FILE",
        "file to log changes to, one line of JSON each; - is stderr, the default over HTTP with authentication",
        parsers.not_empty,
    )
    state_key: str = _setting(
        "",
        "",
        "over HTTP: secret of 32 characters or more for cursors and confirmation codes, the same on all replicas",
        parsers.state_key,
        secret=True,
    )

    backend_credentials: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variable → credential. MCP_SESSIONS_TOKEN_WORK is for the backend named `work`."""
    is_backend_given: bool = field(default=False, compare=False)
    """Whether a backend was given, even if it is the default one."""

    @classmethod
    def read(cls, flags: Mapping[str, str | list[str] | None], environ: Mapping[str, str]) -> "Settings":
        """Return the settings from flags (by field name) and the environment; flags win. Raise `BadSetting`."""
        values: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            flag = flags.get(name)
            if isinstance(flag, list) and len(flag) > 1 and "" in flag:
                raise BadSetting(f"{setting.flag} can't be '' if it is repeated. Leave that one out.")
            given = setting.separator.join(flag) if isinstance(flag, list) else flag
            text = given if given is not None else environ.get(setting.variable)
            if text is None or (given is None and text == "" and name != "user"):
                continue  # clients set unused variables to ""; for `user` that would show everybody's sessions
            try:
                values[name] = setting.parse(parsers.require_utf8(text))
            except ValueError as error:
                source = setting.flag if given is not None else setting.variable
                shown = repr(text[:80]) if setting.flag else "this value"  # never show a secret
                raise BadSetting(f"{source} can't be {shown}: it {error}.") from None
        tokens = {
            name: environ[name]
            for address in read_addresses(values.get("backend", ()))
            if address.name
            for name in [address.token_variable]
            if environ.get(name)
        }
        return cls(**values, backend_credentials=tokens, is_backend_given="backend" in values)

    @property
    def backend_names(self) -> Sequence[str]:
        """The names of the backends, "" for the one without a name. Raises `BadSetting` for a bad name."""
        return [address.name for address in read_addresses(self.backend)]

    def variables(self) -> dict[str, str]:
        """Return the environment variables that set all values that differ from the defaults."""
        default = Settings()
        changed = (name for name in SETTINGS if getattr(self, name) != getattr(default, name))
        given = {SETTINGS[name].variable: _text(getattr(self, name), SETTINGS[name].separator) for name in changed}
        return given | dict(self.backend_credentials)


def _text(value: str | float | tuple[str, ...], separator: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return separator.join(value) if isinstance(value, tuple) else str(value)


def _settings_table() -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    group = ""
    for item in fields(Settings):
        known = item.metadata
        if "metavar" not in known:
            continue  # `backend_credentials`, whose variables depend on the backends' names
        group = _GROUPS.get(item.name, group)
        settings[item.name] = Setting(
            group=group,
            variable=PREFIX + item.name.upper(),
            flag="" if known["secret"] else "--" + item.name.replace("_", "-"),
            metavar=known["metavar"],
            help=known["help"],
            parse=known["parse"],
            shown_default=known["shown"] or _default_text(item.default),
            separator=known.get("separator") or ("," if isinstance(item.default, tuple) else ""),
            is_alias="is_alias" in known,
        )
    return settings


SETTINGS = _settings_table()
