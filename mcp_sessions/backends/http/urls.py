"""URLs of HTTP backends: the base URL, request headers, paths with ids in them, and proxies."""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import quote, unquote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from ...errors import Invalid, Unsupported, quoted
from .credentials import Credential

_CREDENTIAL_PARAMETER = re.compile(r"key|token|secret|passw|credential|auth|signature|jwt", re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]+(%25\w+)?")  # a name in any script, or an address, which may have a zone
_MAX_SEGMENT_LENGTH = 512
UNENCRYPTED = "others on the network can read the credential and all contents. Use https://"


def path(*segments: str) -> str:
    """Return a path with each segment encoded: `path("sessions", id, "runs")` → "/sessions/…/runs".

    "." and ".." are encoded so that httpx2 doesn't resolve them. Raise `Unsupported` for a segment that can't be part
    of a path.
    """
    return "".join(f"/{_encoded(segment)}" for segment in segments)


def path_obstacle(segment: str) -> str:
    """Return why a segment can't be part of a path, such as `contains "/"`; "" if it can.

    A "/" can't, even encoded: servers such as AgentOS's decode %2F before they route a request.
    """
    if not segment:
        return "is empty"
    if "/" in segment:
        return 'contains "/"'
    if len(segment) > _MAX_SEGMENT_LENGTH:
        return f"has more than {_MAX_SEGMENT_LENGTH} characters"
    categories = set(map(unicodedata.category, segment))
    if "Cs" in categories:
        return "contains an unpaired surrogate"
    return "contains a control character" if "Cc" in categories else ""


def _encoded(segment: str) -> str:
    obstacle = path_obstacle(segment)
    if obstacle:
        raise Unsupported(
            f"the id {quoted(segment)} {obstacle}, so it can't be part of a URL. Use the system's own program."
        )
    return segment.replace(".", "%2E") if not segment.strip(".") else quote(segment, safe="")


def validate_base_url(url: str, *, allow_http: bool, token_variable: str) -> str:
    """Return the URL that paths are appended to, without its query.

    Raise `Invalid` for a URL that can't be used. The error never contains a credential from the URL. It says to put
    the credential into the environment variable `token_variable`.
    """
    try:
        parsed = httpx2.URL(url.strip())
    except httpx2.InvalidURL:
        raise Invalid("the backend's URL is malformed. Write it as https://HOST:PORT.") from None
    names = (unquote_plus(pair.partition("=")[0]) for pair in parsed.query.decode("ascii", "replace").split("&"))
    if parsed.userinfo or any(_CREDENTIAL_PARAMETER.search(name) for name in names):
        raise Invalid(f"the backend's URL contains a credential. Put it into {token_variable} instead.")
    if parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.host) or parsed.fragment:
        raise Invalid("the backend's URL must be http:// or https:// with a host, and no #. Correct it.")
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise Invalid("the port in the backend's URL must be between 1 and 65535. Correct it.")
    if not allow_http and is_unencrypted(parsed):
        raise Invalid(
            "http:// sends the credential and all contents unencrypted to another machine. "
            "Use https://, or allow it with ?allow_http=on."
        )
    return str(parsed.copy_with(query=None)).rstrip("/")


def is_unencrypted(url: httpx2.URL | str) -> bool:
    """Return whether requests to this URL are sent unencrypted to another machine."""
    parsed = httpx2.URL(url)
    return parsed.scheme == "http" and not _is_loopback(parsed.host)


def server_attributes(url: str) -> dict[str, str | int]:
    """Return the span attributes of a server: its address and port."""
    parsed = httpx2.URL(url)
    return {"server.address": parsed.host, "server.port": parsed.port or (443 if parsed.scheme == "https" else 80)}


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


Authorization = Callable[[str], str]
"""Returns the value of the header `Authorization` for a token."""


def bearer(token: str) -> str:
    """Return the value of `Authorization` that sends the token as a bearer token."""
    return f"Bearer {token}"


def basic(user: str) -> Authorization:
    """Return a function that sends the token as the password of `user` (basic authentication)."""
    return lambda token: f"Basic {b64encode(f'{user}:{token}'.encode()).decode()}"


def request_headers(
    credential: Credential, headers: Mapping[str, str], authorization: Authorization = bearer
) -> dict[str, str]:
    """Return the headers of every request.

    Raise `Invalid`, or `Unauthorized` for a caller's credential, for a value that can't be sent in a header. The error
    doesn't contain the value.
    """
    credential.validate()
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not _is_header_value(value) or value != value.strip():
            raise Invalid(f"the header {quoted(name)} can't be sent. Use visible ASCII characters.")
    fixed = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "mcp-sessions"}
    return fixed | dict(headers) | ({"Authorization": authorization(credential.token)} if credential.token else {})


def _is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable()


def proxy_for(url: str) -> str | None:
    """Return the proxy for this URL from the environment, chosen as HTTPX does; None if there is none."""
    address = urlsplit(url)
    if proxy_bypass(address.netloc):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all")
