"""A backend for Agno AgentOS, through its REST API."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from platformdirs import user_data_dir

from ...errors import Invalid, quoted
from ..base import Options
from ..http.client import HttpClient
from ..http.credentials import configured_credential
from .accounts import Accounts
from .api import explain
from .backend import AgentOsBackend

_PARAMETERS = ("db_id", "table")


def open_agentos(url: str, options: Options) -> AgentOsBackend:
    """Return the backend at `agentos+http://HOST[:PORT][/PATH][?db_id=ID[&table=NAME]]`, or `agentos+https:`.

    Raise `Invalid` for any other URL.
    """
    address = url.removeprefix("agentos+")
    http = HttpClient(
        address,
        system="AgentOS",
        timeout=options.timeout,
        trust_env=options.trust_env,
        allow_http=options.allow_http,
        explain=explain,
    )
    given = dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))
    unknown = next((name for name in given if name not in _PARAMETERS), None)
    if unknown is not None:
        raise Invalid(f"the AgentOS backend's URL takes db_id and table, and not {quoted(unknown)}")
    db_id, table = (given.get(name, "") for name in _PARAMETERS)
    if table and not db_id:
        raise Invalid("the AgentOS backend's URL has a table without its database. Add db_id=ID")
    folder = Path(options.data_folder or user_data_dir("mcp-sessions", appauthor=False))
    accounts = Accounts(http, db_id=db_id, table=table, folder=folder, recheck=options.recheck)
    credential = configured_credential(options.token, callers_have_credentials=options.callers_have_credentials)
    return AgentOsBackend(accounts, credential, timeout=options.timeout)
