"""A backend for Guayaba, through its Public API v1."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Invalid, quoted
from ...json_documents import is_array, is_object
from ..backend_type import BackendType, OpenContext
from ..environment import CERTIFICATES, DATA_FOLDER, PROXIES
from ..options import HttpOptions, Option, refuse_other_options
from .uuids import is_uuid

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend

_PUBLIC = "https://api.guayaba.run/api/v1"
_NO_AGENTS: Mapping[str, Sequence[str]] = {}


def read_agents(path: str) -> Mapping[str, Sequence[str]]:
    """Return each user's agents from a JSON file. Raise `ValueError` if it can't be read or is malformed."""
    accepts = 'accepts a file such as {"ada": ["UUID"]}'
    try:
        agents = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{accepts}, and this one can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(accepts) from error
    if not is_object(agents) or not all(is_array(ids) for ids in agents.values()):
        raise ValueError(accepts)
    require_uuids(agents)
    return agents


def require_uuids(agents: Mapping[str, Sequence[str]]) -> None:
    """Raise `ValueError` if a user's id is empty or an agent's is not a UUID."""
    for user, ids in agents.items():
        other = next((id for id in ids if not is_uuid(id)), None)
        if other is not None:
            raise ValueError(f"accepts agents by their UUIDs, but {quoted(user)} has {quoted(other)}")
        if not user:
            raise ValueError("accepts no user with an empty id")


AGENT = Option("", "UUID", "the agent, if the key can reach several", str, selects=True)
AGENTS = Option(
    _NO_AGENTS, "FILE", "JSON object that maps each user's id to the UUIDs of their agents", read_agents, is_path=True
)


@dataclass(frozen=True, kw_only=True)
class GuayabaOptions(HttpOptions):
    """The options of Guayaba."""

    agent: str = AGENT.field()
    agents: Mapping[str, Sequence[str]] = AGENTS.field()


def open_guayaba(url: str, options: GuayabaOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `guayaba:` (the public API) or `guayaba+https://HOST/api/v1`.

    Raise `Invalid` for any other URL.
    """
    from ..http.client import HttpClient
    from ..http.credentials import configured_credential
    from .api import explain
    from .backend import GuayabaBackend

    address = url.removeprefix("guayaba+")
    if url.startswith("guayaba:"):
        rest = url.removeprefix("guayaba:")
        if rest and not rest.startswith("?"):
            raise Invalid("the Guayaba backend's URL must be guayaba: or guayaba+https://HOST/api/v1")
        address = _PUBLIC + rest
    http = HttpClient.for_options(address, options, context, system="Guayaba", explain=explain)
    refuse_other_options(url, GuayabaOptions)
    if options.agent and not is_uuid(options.agent):
        raise Invalid("the Guayaba backend's URL must name the agent by its UUID")
    try:
        require_uuids(options.agents)
    except ValueError as error:
        raise Invalid(f"the option agents {error}") from error
    credential = configured_credential(context)
    if not (credential.token or credential.is_from_caller):
        raise Invalid(f"Guayaba needs a key. Set {context.token_variable} to a master key or an agent key")
    return GuayabaBackend(http, credential, options)


# DATA_FOLDER: an overlay is in that folder.
GUAYABA = BackendType(
    GuayabaOptions, open_guayaba, (*DATA_FOLDER, *CERTIFICATES, *PROXIES), default_address=f"guayaba+{_PUBLIC}"
)
GUAYABA_PLAIN = BackendType(GuayabaOptions, open_guayaba, (*DATA_FOLDER, *PROXIES))
