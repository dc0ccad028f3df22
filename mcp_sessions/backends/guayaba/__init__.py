"""A backend for Guayaba, through its Public API v1."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from ...errors import Invalid, quoted
from ..base import Options
from ..http.client import HttpClient
from ..http.credentials import configured_credential
from .api import explain
from .backend import GuayabaBackend
from .wire import is_uuid

_PUBLIC = "https://api.guayaba.run/api/v1"


def open_guayaba(url: str, options: Options) -> GuayabaBackend:
    """Return the backend at `guayaba:` (the public API) or `guayaba+https://HOST/api/v1`, maybe with `?agent=UUID`.

    Raise `Invalid` for any other URL.
    """
    address = url.removeprefix("guayaba+")
    if url.startswith("guayaba:"):
        rest = url.removeprefix("guayaba:")
        if rest and not rest.startswith("?"):
            raise Invalid("the Guayaba backend's URL is guayaba: or guayaba+https://HOST/api/v1")
        address = _PUBLIC + rest
    http = HttpClient(
        address,
        system="Guayaba",
        timeout=options.timeout,
        trust_env=options.trust_env,
        allow_http=options.allow_http,
        explain=explain,
    )
    given = dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))
    agent = given.pop("agent", "")
    if given:
        raise Invalid(f"the Guayaba backend's URL takes agent, and not {quoted(next(iter(given)))}")
    if agent and not is_uuid(agent):
        raise Invalid("the Guayaba backend's URL must name the agent by its UUID")
    credential = configured_credential(options.token, callers_have_credentials=options.callers_have_credentials)
    if not (credential.token or credential.is_from_caller):
        raise Invalid("Guayaba needs a key. Set MCP_SESSIONS_TOKEN to a master key or an agent key")
    return GuayabaBackend(
        http, credential, agent=agent.lower(), agents_of=_agents_of(options.agents), timeout=options.timeout
    )


def _agents_of(agents: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    for user, ids in agents.items():
        invalid = next((id for id in ids if not is_uuid(id)), None)
        if invalid is not None:
            raise Invalid(f"--agents must name the agents of {quoted(user)} by their UUIDs, and not {quoted(invalid)}")
        if not user:
            raise Invalid("--agents has a user with an empty id. Give each user an id")
    return {user: frozenset(id.lower() for id in ids) for user, ids in agents.items()}
