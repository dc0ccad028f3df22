"""Where an HTTP backend is and with which credential, checked once; and ids as parts of its paths."""

import re
import unicodedata
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import quote, unquote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from ...errors import Invalid, Unsupported, quoted
from .credentials import Credential

_KEY = re.compile(r"key|token|secret|passw|credential|auth|signature|jwt", re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]+(%25\w+)?")  # a name in any script, or an address, which may have a zone
_MOST_SEGMENT = 512
READABLE = "the credential and all contents can be read on the way. Use https://"


def path(*segments: str) -> str:
    """`path("sessions", id, "runs")` → "/sessions/…/runs": each segment stays one segment, whatever is in it.

    Servers decode %2F before they route, and clients resolve "." and ".." (AgentOS, httpx2), so those
    can't be sent as they are. Raises `Unsupported` for a segment that no path can carry.
    """
    return "".join(f"/{_encoded(segment)}" for segment in segments)


def _encoded(segment: str) -> str:
    unfit = not segment or "/" in segment or len(segment) > _MOST_SEGMENT
    if unfit or any(unicodedata.category(char) in ("Cc", "Cs") for char in segment):
        raise Unsupported(f"{quoted(segment)} can't be addressed over HTTP. Use an id that a list returned.")
    return segment.replace(".", "%2E") if not segment.strip(".") else quote(segment, safe="")


def base_of(url: str, *, allow_http: bool) -> str:
    """The URL that paths are appended to, without a query. Raises `Invalid`, which never repeats a credential."""
    try:
        parsed = httpx2.URL(url.strip())
    except httpx2.InvalidURL:
        raise Invalid("the backend's URL is malformed. Write it as https://HOST:PORT.") from None
    names = (unquote_plus(pair.partition("=")[0]) for pair in parsed.query.decode("ascii", "replace").split("&"))
    if parsed.userinfo or any(_KEY.search(name) for name in names):
        raise Invalid("the backend's URL holds a credential. Put it into MCP_SESSIONS_TOKEN instead.")
    if parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.host) or parsed.fragment:
        raise Invalid("the backend's URL must be http:// or https:// with a host, and no #. Correct it.")
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise Invalid("the port in the backend's URL must be between 1 and 65535. Correct it.")
    if not allow_http and is_readable(parsed):
        raise Invalid(
            "http:// sends the credential and all contents readably to another machine. "
            "Use https://, or allow it with --allow-http or MCP_SESSIONS_ALLOW_HTTP=1."
        )
    return str(parsed.copy_with(query=None)).rstrip("/")


def is_readable(url: httpx2.URL | str) -> bool:
    """Whether what is sent there can be read on the way."""
    parsed = httpx2.URL(url)
    return parsed.scheme == "http" and not _is_loopback(parsed.host)


def server_of(url: str) -> dict[str, str | int]:
    """What spans say of whom they are sent to."""
    parsed = httpx2.URL(url)
    return {"server.address": parsed.host, "server.port": parsed.port or (443 if parsed.scheme == "https" else 80)}


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def headers_of(credential: Credential, headers: Mapping[str, str]) -> dict[str, str]:
    """What every request says. Raises `Invalid` or `Unauthorized`, without the value, for what can't be in a header."""
    credential.check()
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not _is_header_value(value) or value != value.strip():
            raise Invalid(f"the header {quoted(name)} can't be sent. Use visible ASCII characters.")
    fixed = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mcp-sessions"}
    return fixed | dict(headers) | ({"Authorization": f"Bearer {credential.token}"} if credential.token else {})


def _is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable()


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this URL, as HTTPX's own client would take it."""
    address = urlsplit(url)
    if proxy_bypass(address.netloc):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all")
