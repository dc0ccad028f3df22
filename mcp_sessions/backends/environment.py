"""Environment variables that backends read in addition to the settings.

Clients don't pass their whole environment to a server, so `mcp-sessions config` copies these into its snippets.
"""

from typing import NamedTuple


class Variable(NamedTuple):
    """An environment variable.

    `is_path`: it names a file or folder. `is_secret`: no snippet may contain its value.
    `is_proxy`: read only with the option trust_env.
    """

    name: str
    is_path: bool = False
    is_secret: bool = False
    is_proxy: bool = False


DATA_FOLDER = (Variable("XDG_DATA_HOME", is_path=True),)
CERTIFICATES = (Variable("SSL_CERT_FILE", is_path=True), Variable("SSL_CERT_DIR", is_path=True))
PROXIES = tuple(
    Variable(name, is_proxy=True)
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (upper, upper.lower())
)

_LIBPQ_TEXTS = """
    PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGSERVICE PGOPTIONS PGAPPNAME PGREQUIREAUTH PGCHANNELBINDING
    PGSSLMODE PGREQUIRESSL PGSSLNEGOTIATION PGSSLCOMPRESSION PGSSLSNI PGSSLCERTMODE PGSSLMINPROTOCOLVERSION
    PGSSLMAXPROTOCOLVERSION PGREQUIREPEER PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION PGCONNECT_TIMEOUT
    PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION
"""
_LIBPQ_PATHS = "PGPASSFILE PGSERVICEFILE PGSYSCONFDIR PGSSLCERT PGSSLKEY PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR"
# https://www.postgresql.org/docs/current/libpq-envars.html
LIBPQ = (
    Variable("PGPASSWORD", is_secret=True),
    *(Variable(name) for name in _LIBPQ_TEXTS.split()),
    *(Variable(name, is_path=True) for name in _LIBPQ_PATHS.split()),
)
