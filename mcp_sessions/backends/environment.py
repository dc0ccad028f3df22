"""Environment variables that backends read in addition to the settings, the paths in them, and programs on the PATH.

Clients don't pass their whole environment to a server, so `mcp-sessions config` copies these into its snippets.
"""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_data_dir


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

LIBPQ_PATH_OPTIONS = frozenset([*(name.removeprefix("PG").lower() for name in _LIBPQ_PATHS.split()), "sslkeylogfile"])
"""The options of a PostgreSQL URL that name a file or folder."""


def absolute_path(name: str, text: str) -> str:
    """Return the value of a path variable or libpq option in a form that means the same in every working folder."""
    match name:
        case "XDG_DATA_HOME":  # some versions of platformdirs ignore a relative path
            return str(Path(user_data_dir()).absolute())
        case "SSL_CERT_DIR":  # OpenSSL accepts several folders
            return os.pathsep.join(str(Path(folder).absolute()) for folder in text.split(os.pathsep) if folder)
        case "PGSSLROOTCERT" | "sslrootcert" if text == "system":  # the certificates of the operating system
            return text
        case "PGSSLKEY" | "sslkey" if ":" in text:  # an engine of OpenSSL and its name for the key
            return text
        case _:
            return str(Path(text).absolute())


def find_program(text: str) -> str:
    """Return the absolute path of a program, given by a path or by a name on the PATH."""
    found = program_on_path(text)
    if not found:
        raise ValueError("accepts the path of a program, or the name of one on the PATH")
    return found


def program_on_path(name: str) -> str:
    """Return the absolute path of a program, or "" if there is none. The PATH may have relative folders."""
    found = shutil.which(name) if name and "\0" not in name else None
    return str(Path(found).absolute()) if found else ""
