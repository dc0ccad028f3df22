"""Parses `--backend`: a URL, `local:`, or NAME=URL and NAME:ro=URL for several backends."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..backends.backend_names import NAME_RULE, is_name
from ..backends.registry import BACKENDS, LOCAL, local_agents, mask_passwords
from ..errors import replace_unprintable
from .default_paths import url_in_data_folder
from .parsers import BadSetting

_TOKEN = "MCP_SESSIONS_TOKEN"
_READ_ONLY = "ro"
_SCHEMES = "|".join(re.escape(scheme) for scheme in (*BACKENDS, LOCAL.rstrip(":")))
# Paths may contain spaces, so only a space before a name or a URL separates two backends.
_BETWEEN = re.compile(rf"\s*\n\s*|\s+(?=[^\s:=/?#]+(?::\w*)?=|(?:{_SCHEMES}):|[a-z][a-z0-9+.-]*://)")
_NAMED = re.compile(r"([^:=/?#]*)(?::(\w*))?=(.*)", re.DOTALL)


class BackendAddress(NamedTuple):
    """One backend: its name, "" if it has none, its URL, and whether it is read-only."""

    name: str
    url: str
    is_read_only: bool = False

    def __str__(self) -> str:
        access = f":{_READ_ONLY}" if self.is_read_only else ""
        return f"{self.name}{access}={self.url}" if self.name else self.url

    @property
    def token_variable(self) -> str:
        """The environment variable for this backend's credential."""
        return f"{_TOKEN}_{self.name.upper().replace('-', '_')}" if self.name else _TOKEN


def split_backends(text: str) -> tuple[str, ...]:
    """Return the backends in a text that separates them by white space."""
    return tuple(_BETWEEN.split(text.strip()))


def read_addresses(backends: Sequence[str]) -> list[BackendAddress]:
    """Parse the backends. Raise `BadSetting` for a malformed one, or for two with the same name or without one.

    Instead of `local:`, return what it stands for.
    """
    addresses: list[BackendAddress] = []
    for address in (member for text in backends for member in _members(read_address(text))):
        if address.name in [other.name for other in addresses]:
            which = f"the name {address.name!r}" if address.name else "no name"
            raise BadSetting(f"--backend is given twice with {which}: write NAME=URL, with a different name for each.")
        addresses.append(address)
    return addresses


def _members(address: BackendAddress) -> Iterator[BackendAddress]:
    if address.url != LOCAL:
        yield address
        return
    yield BackendAddress("", url_in_data_folder("sessions.db"))
    for name, url in local_agents().items():
        yield BackendAddress(name, url)


def read_address(text: str) -> BackendAddress:
    """Parse one backend. Raise `BadSetting` for a malformed one."""
    named = _NAMED.fullmatch(text)
    if named is None:
        name = text.removesuffix(f":{_READ_ONLY}")
        if name != text and is_name(name):
            raise BadSetting(f"--backend {text} has no URL: write {text}=URL.")
        return BackendAddress("", text)
    name, access, url = named.groups()
    if not is_name(name):
        raise BadSetting(f"--backend can't have the name {name[:80]!r}: a name is {NAME_RULE}.")
    if access not in (None, _READ_ONLY):
        raise BadSetting(
            f"--backend {name} can't have {access[:80]!r} after its name: only {name}:{_READ_ONLY} is possible."
        )
    if url == LOCAL:
        raise BadSetting(f"--backend {text[:80]} can't have a name, since it stands for several: write {LOCAL} alone.")
    if not url:
        raise BadSetting(f"--backend {name} has no URL: write {name}=URL.")
    return BackendAddress(name, url, access == _READ_ONLY)


def shown_backends(backends: Sequence[str]) -> str:
    """Return the backends as one line to show, without passwords."""
    return ", ".join(replace_unprintable(mask_passwords(backend)) for backend in backends)
