"""Parsers that convert a setting's text to its value, or raise `BadSetting` with what the setting accepts."""

import re
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

TOOLSET_NAMES = ("sessions", "history", "state", "bulk", "authoring")
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_USER_LENGTH = 512
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


class BadSetting(ValueError):
    """A setting with a value that it doesn't accept. The text is one line: the setting, and what it accepts."""


def require_utf8(text: str) -> str:
    """Return the text. Raise `BadSetting` if it was not UTF-8, since it couldn't be stored or sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        if encoding == "utf-8":
            raise BadSetting("accepts text in UTF-8") from None
        raise BadSetting(
            f"accepts text in UTF-8, but the locale's encoding is {encoding}. Set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        ) from None
    return text


def user(text: str) -> str:
    if not 0 < len(text) <= _USER_LENGTH:
        raise BadSetting(
            f"accepts a user's id, of up to {_USER_LENGTH} characters; leave it out to see everybody's sessions"
        )
    return text


def not_empty(text: str) -> str:
    """Return the text. Raise `BadSetting` if it is empty.

    An empty value usually comes from an unset shell variable, and must not turn authentication off.
    """
    if not text:
        raise BadSetting("must not be empty; leave it out instead")
    return text


def not_empty_or_off(text: str) -> str:
    """Return the URL or path, or "off". Whether it is right shows when it is opened, whose errors don't repeat it."""
    return "off" if text.strip().lower() in ("off", "no", "false", "0") else not_empty(text)


def choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        known = {word.lower(): word for word in choices}
        if text.strip().lower() not in known:
            raise BadSetting(f"accepts {', '.join(choices)}")
        return known[text.strip().lower()]

    return parse


def toolsets(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == ("all",):
        return TOOLSET_NAMES
    if not names or not set(names) <= set(TOOLSET_NAMES):
        raise BadSetting(f"accepts all, or a comma-separated list of {', '.join(TOOLSET_NAMES)}")
    return names


def hosts(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not all(_HOST.fullmatch(name) and is_url(f"http://{name}") for name in names):
        raise BadSetting("accepts the host of the URL that clients call, such as sessions.example or [::1]:8443")
    return names


def is_url(text: str) -> bool:
    """Return whether the text is a complete http:// or https:// URL, with a host and no impossible port."""
    try:
        parsed = urlsplit(text)
        return parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        return False


def algorithms(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or not set(names) <= set(_ALGORITHMS):
        raise BadSetting(f"accepts a comma-separated list of {', '.join(_ALGORITHMS)}")
    return names


def state_key(text: str) -> str:
    if len(text) < 32:
        raise BadSetting("accepts 32 characters or more; `openssl rand -base64 32` generates some")
    return text
