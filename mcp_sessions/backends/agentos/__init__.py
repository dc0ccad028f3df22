"""Agno AgentOS, through its REST API."""

from functools import partial
from hashlib import blake2b
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from platformdirs import user_data_dir

from ...errors import Invalid, quoted
from .._http import HttpClient
from .._locks import FileLocks
from ..base import Options
from .api import Api, explain
from .backend import AgentOsBackend
from .changes import Changes
from .journal import Journal
from .keeper import Keeper

_PARAMETERS = ("db_id", "table")


def open_agentos(url: str, options: Options) -> AgentOsBackend:
    """`agentos+http://HOST[:PORT][/PATH][?db_id=ID[&table=NAME]]`, or `agentos+https:`. Raises `Invalid`."""
    address = url.removeprefix("agentos+")
    http = HttpClient(
        address,
        system="AgentOS",
        token=options.token,
        timeout=options.timeout,
        trust_env=options.trust_env,
        allow_http=options.allow_http,
        explain=explain,
    )
    given = dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))
    unknown = next((name for name in given if name not in _PARAMETERS), None)
    if unknown is not None:
        raise Invalid(f"the AgentOS backend's URL knows db_id and table, and not {quoted(unknown)}")
    db_id, table = (given.get(name, "") for name in _PARAMETERS)
    if table and not db_id:
        raise Invalid("the AgentOS backend's URL names a table without its database. Add db_id=ID")
    folder = Path(options.data_folder or user_data_dir("mcp-sessions", appauthor=False))
    server = _digest(http.address.replace("//localhost", "//127.0.0.1"), db_id, table)
    # What one credential may see, another may not: each has what it changed checked with its own.
    journal = partial(Journal, folder, _digest(server, options.token)) if options.recheck else None
    api, keeper = Api(http, db_id=db_id, table=table), Keeper(journal)
    changes = Changes(api, keeper, FileLocks(folder / "locks"), server)
    return AgentOsBackend(api, keeper, changes, timeout=options.timeout, greets=bool(options.token))


def _digest(*parts: str) -> str:
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()
