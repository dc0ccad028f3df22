"""Every setting once: its flag, its variable, what it accepts. `--help` and README's table come from here."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from platformdirs import user_data_dir

PREFIX = "MCP_SESSIONS_"
Confirm = Literal["auto", "code", "off"]
Transport = Literal["stdio", "http"]
_TOOLSETS = ("sessions", "history", "state", "bulk", "authoring")
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class BadSetting(ValueError):
    """A setting with a value it can't have; the text is one line that says which and what it accepts."""


@dataclass(frozen=True)
class Option:
    """How one field of `Settings` is given. `flag` "" means: by its variable only."""

    variable: str
    flag: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    shown_default: str
    repeatable: bool


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise BadSetting("accepts 1, true, yes or on, and 0, false, no or off")


def _user(text: str) -> str:
    if not text:
        raise BadSetting("accepts a user's id; leave it out to see everybody's sessions")
    return text


def _given(text: str) -> str:
    """Where nothing means that nobody needs to say who they are, a variable of a shell that isn't set must not."""
    if not text:
        raise BadSetting("accepts no empty value; leave it out for none")
    return text


def _number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            whole = "a whole number" if kind is int else "a number"
            raise BadSetting(f"accepts {whole} from {least:,} to {most:,}")
        return value

    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        known = {choice.lower(): choice for choice in choices}
        if text.strip().lower() not in known:
            raise BadSetting(f"accepts {', '.join(choices)}")
        return known[text.strip().lower()]

    return parse


def _toolsets(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == ("all",):
        return _TOOLSETS
    if not names or not set(names) <= set(_TOOLSETS):
        raise BadSetting(f"accepts all, or a comma-separated list of {', '.join(_TOOLSETS)}")
    return names


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not all(_HOST.fullmatch(name) and is_url(f"http://{name}") for name in names):
        raise BadSetting("accepts the host of the URL that clients call, such as sessions.example or [::1]:8443")
    return names


def is_url(text: str) -> bool:
    """Whether it is a whole URL of HTTP, with a host and, if any, a port that there can be."""
    try:
        parsed = urlsplit(text)
        return parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        return False


def _algorithms(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or not set(names) <= set(_ALGORITHMS):
        raise BadSetting(f"accepts a comma-separated list of {', '.join(_ALGORITHMS)}")
    return names


def _key(text: str) -> str:
    if len(text) < 32:
        raise BadSetting("accepts 32 characters or more; `openssl rand -base64 32` makes some")
    return text


def _default_backend() -> str:
    path = Path(user_data_dir("mcp-sessions", appauthor=False)) / "sessions.db"
    return f"sqlite:///{quote(path.as_posix())}"


def _setting(
    default: Any, metavar: str, help: str, parse: Callable[[str], Any] = str, *, secret: bool = False, shown: str = ""
) -> Any:
    metadata = {"metavar": metavar, "help": help, "parse": parse, "secret": secret, "shown": shown}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, repr=False)
class Settings:
    """How a server is set up. It has no `repr` of its own, since a token, or a URL with a password, would be in it."""

    backend: str = _setting(
        _default_backend, "URL", "where the sessions are", shown="sqlite:///USER_DATA_DIR/mcp-sessions/sessions.db"
    )
    token: str = _setting(
        "", "", "credential for the backend, sent as a bearer token (the embedded store needs none)", secret=True
    )
    user: str = _setting("", "ID", "see and change only this user's sessions", _user)
    session: str = _setting("", "ID", 'the session that "current" means')
    read_only: bool = _setting(False, "", "offer only tools that read", _boolean)
    toolsets: tuple[str, ...] = _setting(
        _TOOLSETS[:3],
        "A,B",
        f"groups of tools to offer, of {', '.join(_TOOLSETS)}, or all",
        _toolsets,
        shown="sessions,history,state",
    )
    confirm: Confirm = _setting(
        "auto",
        "HOW",
        "how a deletion is confirmed: auto (ask the user, else a code), code, off",
        _choice("auto", "code", "off"),
    )
    timeout: float = _setting(
        25.0, "S", "seconds that one call may spend on the backend, 0.1 to 600", _number(float, 0.1, 600), shown="25"
    )
    max_chars: int = _setting(
        24_000, "N", "characters of the largest result, 2000 to 400000", _number(int, 2_000, 400_000)
    )
    redact: bool = _setting(
        True, "on|off", "show known shapes of credentials in transcripts as [redacted: KIND]", _boolean, shown="on"
    )
    keep_deleted: int = _setting(
        30, "DAYS", "days for which the embedded store can restore a deleted session, 1 to 3650", _number(int, 1, 3650)
    )
    recheck: bool = _setting(
        True,
        "on|off",
        "write a change again that a run on AgentOS undid when it ended, for 10 minutes",
        _boolean,
        shown="on",
    )
    trust_env: bool = _setting(False, "", "reach the backend through the proxy that HTTP(S)_PROXY names", _boolean)
    allow_http: bool = _setting(False, "", "allow http:// to a backend elsewhere, readable on the way", _boolean)
    transport: Transport = _setting(
        "stdio", "HOW", "how serve talks to clients: stdio, http (Streamable HTTP at /mcp)", _choice("stdio", "http")
    )
    host: str = _setting("127.0.0.1", "H", "address to serve HTTP on; others than this machine's need authentication")
    port: int = _setting(8000, "N", "port to serve HTTP on, 0 to 65535; 0 takes a free one", _number(int, 0, 65_535))
    allowed_host: tuple[str, ...] = _setting(
        (), "H", "over HTTP: host in the URL that clients call; may be repeated, and separated by commas", _hosts
    )
    tokens: str = _setting(
        "", "FILE", "over HTTP: the tokens that are let in, as `mcp-sessions token new` prints them", _given
    )
    jwt_issuer: str = _setting("", "URL", "over HTTP: let in JWTs of this issuer (their `iss`)", _given)
    jwt_audience: str = _setting(
        "", "A", "the `aud` that a JWT must have: this server's URL, as clients call it", _given
    )
    jwt_jwks: str = _setting("", "URL|FILE", "where the issuer's public keys are, as a JWKS", _given)
    jwt_algorithms: tuple[str, ...] = _setting(
        ("RS256",), "A,B", "algorithms that a JWT may be signed by", _algorithms, shown="RS256"
    )
    agents: str = _setting("", "FILE", "Guayaba: the agents of each user, as JSON: user id to a list of UUIDs", _given)
    backend_tokens: str = _setting(
        "", "FILE", "a backend credential for each subject, as JSON: subject to credential", _given
    )
    own_credentials: bool = _setting(
        False, "", "callers send their own credential for the backend, in X-Backend-Authorization", _boolean
    )
    max_body: int = _setting(
        2_097_152, "BYTES", "over HTTP: largest request, 1024 to 104857600", _number(int, 1024, 104_857_600)
    )
    max_concurrent: int = _setting(
        64, "N", "over HTTP: requests at once; more are told to come back (503), 1 to 10000", _number(int, 1, 10_000)
    )
    rate: int = _setting(
        1_200, "N", "over HTTP: calls a minute of one caller, 0 to 1000000; 0 sets no limit", _number(int, 0, 1_000_000)
    )
    audit: str = _setting(
        "",
        "FILE",
        "over HTTP: a JSON line for each change goes here; - is stderr, where it goes with authentication",
        _given,
    )
    state_key: str = _setting(
        "", "", "over HTTP: a secret of 32 characters or more that all replicas share", _key, secret=True
    )
    log_level: str = _setting("WARNING", "LEVEL", f"on stderr: {', '.join(_LEVELS)}", _choice(*_LEVELS))

    @classmethod
    def read(cls, flags: Mapping[str, str | list[str] | None], environ: Mapping[str, str]) -> "Settings":
        """Settings from flags by field name and the environment; a flag wins. Raises `BadSetting`."""
        values: dict[str, Any] = {}
        for name, option in OPTIONS.items():
            flag = flags.get(name)
            given = ",".join(flag) if isinstance(flag, list) else flag
            text = given if given is not None else environ.get(option.variable)
            if text is None or (given is None and text == "" and name != "user"):
                continue  # a client that knows a variable only as empty means: not set; but that would widen `user`
            try:
                values[name] = option.parse(text)
            except BadSetting as error:
                source = option.flag if given is not None else option.variable
                shown = repr(text[:80]) if option.flag else "what it is"  # nobody's secret is repeated
                raise BadSetting(f"{source} can't be {shown}: it {error}.") from None
        return cls(**values)


def _options() -> dict[str, Option]:
    options: dict[str, Option] = {}
    for item in fields(Settings):
        known = item.metadata
        options[item.name] = Option(
            variable=PREFIX + item.name.upper(),
            flag="" if known["secret"] else "--" + item.name.replace("_", "-"),
            metavar=known["metavar"],
            help=known["help"],
            parse=known["parse"],
            shown_default=known["shown"] or _shown(item.default),
            repeatable=isinstance(item.default, tuple),
        )
    return options


def _shown(default: object) -> str:
    return "none" if default in ("", ()) else "off" if default is False else str(default)


OPTIONS = _options()
