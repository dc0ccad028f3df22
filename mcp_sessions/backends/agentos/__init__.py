"""A backend for Agno AgentOS, through its REST API."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_dir

from ...errors import Invalid
from ..backend_type import BackendType, OpenContext
from ..environment import CERTIFICATES, DATA_FOLDER, PROXIES
from ..options import HttpOptions, Option, boolean, refuse_other_options

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend

DB_ID = Option("", "ID", "the id of the database, if the AgentOS has several", str, selects=True)
TABLE = Option("", "NAME", "the sessions table in the database `db_id`, if it isn't the default one", str, selects=True)
RECHECK = Option(
    True,
    "on|off",
    "for 10 minutes after a change, write it again if an AgentOS run overwrites it when the run ends",
    boolean,
)


@dataclass(frozen=True, kw_only=True)
class AgentOsOptions(HttpOptions):
    """The options of AgentOS."""

    db_id: str = DB_ID.field()
    table: str = TABLE.field()
    recheck: bool = RECHECK.field()


def open_agentos(url: str, options: AgentOsOptions, context: OpenContext) -> "SessionBackend":
    """Return the backend at `agentos+http://HOST[:PORT][/PATH]` or `agentos+https:`.

    Raise `Invalid` for any other URL.
    """
    from ..http.client import HttpClient
    from ..http.credentials import configured_credential
    from .accounts import Accounts
    from .api_errors import explain
    from .backend import AgentOsBackend

    http = HttpClient.for_options(url.removeprefix("agentos+"), options, context, system="AgentOS", explain=explain)
    refuse_other_options(url, AgentOsOptions)
    if options.table and not options.db_id:
        raise Invalid("the AgentOS backend's URL names a table but no database. Add db_id=ID")
    folder = Path(context.data_folder or user_data_dir("mcp-sessions", appauthor=False))
    accounts = Accounts(http, db_id=options.db_id, table=options.table, folder=folder, recheck=options.recheck)
    credential = configured_credential(context)
    return AgentOsBackend(accounts, credential, options)


AGENTOS = BackendType(AgentOsOptions, open_agentos, (*DATA_FOLDER, *PROXIES))
AGENTOS_TLS = BackendType(AgentOsOptions, open_agentos, (*DATA_FOLDER, *CERTIFICATES, *PROXIES))
