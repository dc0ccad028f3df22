"""Guayaba, through its Public API v1."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from ...errors import Invalid, quoted
from ..base import Options
from ..http.client import HttpClient
from ..http.credentials import opened_with
from .api import explain
from .backend import GuayabaBackend
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
    credential = opened_with(options.token, callers_have_credentials=options.callers_have_credentials)
    if not (credential.token or credential.is_callers):
        raise Invalid("Guayaba needs a key. Set MCP_SESSIONS_TOKEN to a master key or an agent's")
    return GuayabaBackend(
        http, credential, agent=agent.lower(), agents_of=_agents_of(options.agents), timeout=options.timeout
    )


def _agents_of(agents: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    for user, ids in agents.items():
        unfit = next((id for id in ids if not is_uuid(id)), None)
        if unfit is not None:
            raise Invalid(f"--agents must name the agents of {quoted(user)} by their UUIDs, and not {quoted(unfit)}")
        if not user:
            raise Invalid("--agents names agents of nobody. Each user must have an id")
    return {user: frozenset(id.lower() for id in ids) for user, ids in agents.items()}
