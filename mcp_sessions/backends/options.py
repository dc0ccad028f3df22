"""Options of backends: how each is declared, and how it is read from the query of a backend's URL.

A backend declares its options as a dataclass: `recheck: bool = RECHECK.field()`. Options that several backends have in
common are declared here, so that they mean the same everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_plus

from ..errors import Invalid, quoted

T = TypeVar("T")
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Option(Generic[T]):
    """An option of a backend. `parse` raises a `ValueError` that says what the option accepts.

    `is_path`: the value names a file. `selects`: the option selects one of several accounts or databases of a system.
    """

    default: T
    metavar: str
    help: str
    parse: Callable[[str], T]
    is_path: bool = False
    selects: bool = False

    def field(self) -> Any:
        """Return the dataclass field that holds the option's value."""
        return field(default_factory=lambda: self.default, metadata={"option": self})


def boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("accepts 1, true, yes or on, and 0, false, no or off")


def number(kind: type[N], least: float, most: float) -> Callable[[str], N]:
    """Return a parser for numbers from `least` to `most`."""

    def parse(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            noun = "a whole number" if kind is int else "a number"
            raise ValueError(f"accepts {noun} from {least:,} to {most:,}")
        return value

    return parse


TIMEOUT = Option(25.0, "S", "seconds that one call may spend on the backend, 0.1 to 600", number(float, 0.1, 600))
KEEP_DELETED = Option(
    30, "DAYS", "days during which a deleted session can be restored, 1 to 3650", number(int, 1, 3650)
)
TRUST_ENV = Option(
    False, "on|off", "reach the backend through the proxy set in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY", boolean
)
ALLOW_HTTP = Option(False, "on|off", "allow unencrypted http:// to a backend on another machine", boolean)


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """The options that every backend has. A backend's own are fields of a subclass."""

    timeout: float = TIMEOUT.field()


@dataclass(frozen=True, kw_only=True)
class HttpOptions(BackendOptions):
    """The options of every backend over HTTP."""

    trust_env: bool = TRUST_ENV.field()
    allow_http: bool = ALLOW_HTTP.field()


def options_of(type: type[BackendOptions]) -> dict[str, Option[Any]]:
    """Return the options that a backend declares, by name."""
    return {item.name: item.metadata["option"] for item in fields(type)}


def split_options(url: str, known: Mapping[str, Option[Any]], *, owner: str = "backend") -> tuple[str, dict[str, str]]:
    """Return a URL without the options in its query, and the text of each option.

    Other parts of the query stay in the URL as they are. Raise `Invalid` for an option that is given twice. `owner`:
    what has the URL, for the text of the error.
    """
    address, _, query = url.partition("?")
    texts: dict[str, str] = {}
    others: list[str] = []
    for pair in query.split("&") if query else ():
        name, _, text = pair.partition("=")
        if name not in known:
            others.append(pair)
        elif name in texts:
            raise Invalid(f"the {owner}'s URL has the option {name} twice. Leave one out")
        else:
            texts[name] = unquote_plus(text)
    return "?".join(filter(None, (address, "&".join(others)))), texts


def parse_options(type: type[BackendOptions], texts: Mapping[str, str], *, owner: str = "backend") -> dict[str, Any]:
    """Return the values of the options in a URL. Raise `Invalid` for a text that an option does not accept."""
    known = options_of(type)
    values: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            values[name] = known[name].parse(text)
        except ValueError as error:
            raise Invalid(f"the option {name} in the {owner}'s URL can't be {quoted(text)}: it {error}") from error
    return values


def refuse_other_options(url: str, type: type[BackendOptions], *, owner: str = "backend") -> None:
    """Raise `Invalid` if the URL has a query after its options were taken out of it."""
    query = url.partition("?")[2]
    if query:
        name = unquote_plus(query.partition("&")[0].partition("=")[0])
        known = ", ".join(options_of(type))
        raise Invalid(f"the {owner}'s URL has no option {quoted(name)}. It accepts {known}")
