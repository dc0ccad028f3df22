"""Guayaba, through its Public API v1."""

from urllib.parse import parse_qsl, urlsplit

from ...errors import Invalid, quoted
from .._http import HttpClient
from ..base import Options
from .api import Api, explain
from .backend import GuayabaBackend
from .directory import Directory
from .wire import is_uuid

_PUBLIC = "https://api.guayaba.run/api/v1"


def open_guayaba(url: str, options: Options) -> GuayabaBackend:
    """`guayaba:` for the public address, or `guayaba+https://HOST/api/v1`; either with `?agent=UUID`.

    Raises `Invalid` for another form.
    """
    address = url.removeprefix("guayaba+")
    if url.startswith("guayaba:"):
        rest = url.removeprefix("guayaba:")
        if rest and not rest.startswith("?"):
            raise Invalid("the Guayaba backend is written guayaba: or guayaba+https://HOST/api/v1")
        address = _PUBLIC + rest
    http = HttpClient(
        address,
        system="Guayaba",
        token=options.token,
        timeout=options.timeout,
        trust_env=options.trust_env,
        allow_http=options.allow_http,
        explain=explain,
    )
    given = dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))
    agent = given.pop("agent", "")
    if given:
        raise Invalid(f"the Guayaba backend's URL knows agent, and not {quoted(next(iter(given)))}")
    if agent and not is_uuid(agent):
        raise Invalid("the Guayaba backend's URL must name the agent by its UUID")
    if not options.token:
        raise Invalid("Guayaba needs a key. Set MCP_SESSIONS_TOKEN to a master key or an agent's")
    api = Api(http)
    directory = Directory(api, agent.lower(), options.token, options.timeout / 4)
    return GuayabaBackend(api, directory, timeout=options.timeout)
