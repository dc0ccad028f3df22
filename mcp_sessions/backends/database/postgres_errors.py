"""What is said of PostgreSQL's refusals, by its own codes; never in its words, which may hold what was stored."""

import psycopg
from psycopg import errors

from ...errors import Forbidden, SessionsError, Timeout, Unauthorized, Unavailable, quoted

RUN_AGAIN = (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure)
"""Of two transactions that met; the one that was refused may have its turn behind the other."""

_LOST = ("08", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03")  # codes whose sender closes the connection
_LATER = "Try again later."


class ReadOnly(Unavailable):
    """A database that takes no changes."""


def is_lost(error: BaseException, connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Whether nothing can be said over this connection any more."""
    return connection.closed or (isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_LOST))


def refusal(error: psycopg.Error, seconds: float) -> SessionsError | None:
    """Of a statement, whose transaction was rolled back. None for what lies in this program."""
    match error.sqlstate or "":
        case "57014":
            return Timeout(f"PostgreSQL did not finish within {seconds:g} s; nothing was changed. Try again.")
        case "55P03":
            return Timeout(f"others kept the store locked for {seconds:g} s; nothing was changed. Try again.")
        case "25006":
            return ReadOnly(
                "the PostgreSQL database takes no changes now: it is a standby, or set to be read only. Name its "
                "primary in --backend, or try again when it takes changes."
            )
        case "42501":
            return Forbidden(
                "this PostgreSQL role lacks a right in the schema mcp_sessions. Let its owner grant it, "
                "or name another role in --backend."
            )
        case "42P01" | "3F000":
            return Unavailable("the store's tables are gone from the database. Start again to make them anew.")
        case "53100":
            return Unavailable("PostgreSQL's disk is full; nothing was changed. Free some space and try again.")
        case "53200" | "53300" | "53400":
            return Unavailable(f"PostgreSQL has no memory or connections left; nothing was changed. {_LATER}")
        case state if state.startswith(("58", "XX")):
            return Unavailable("PostgreSQL failed to read or write its files; nothing was changed. See its log.")
        case _:
            return None


# No code comes with a refused connection, so its text must tell, in the language of the server. What is not
# recognised is told in general.
_REFUSED: tuple[tuple[tuple[str, ...], type[SessionsError], str], ...] = (
    (
        ("no password supplied",),
        Unauthorized,
        "PostgreSQL wants a password for {user}. Set PGPASSWORD or ~/.pgpass, or put it into the URL.",
    ),
    (
        ("password authentication failed", "authentication failed", "SCRAM"),
        Unauthorized,
        "PostgreSQL refused the password or name of {user}. Correct it in --backend.",
    ),
    (("role ",), Unauthorized, "PostgreSQL has no role {user}, or it may not log in. Name another in --backend."),
    (
        ("pg_hba.conf",),
        Forbidden,
        "PostgreSQL lets {user} into this database from nowhere here. Let an administrator add it to pg_hba.conf.",
    ),
    (("permission denied for database",), Forbidden, "{user} may not connect to this PostgreSQL database."),
    (
        ("database ",),
        Unavailable,
        "PostgreSQL has no database {database}, or takes no connections to it. Create it, or name another.",
    ),
    (("could not translate host name",), Unavailable, "the host in --backend is unknown. Correct it."),
    (
        ("SSL", "certificate", "ssl"),
        Unavailable,
        "no encrypted connection to PostgreSQL came about as the URL's options ask. Check sslmode and certificates.",
    ),
)
_PASSING = (
    "the database system is",
    "too many clients",
    "remaining connection slots",
    "too many connections",
    "onnection refused",
    "No such file or directory",
    "server closed the connection",
    "timeout expired",
    "Connection reset",
)


def is_passing(error: psycopg.OperationalError) -> bool:
    """Whether the same connection may come about a moment later, as when a server restarts."""
    text = str(error)
    return any(part in text for part in _PASSING)


def connection_refusal(error: psycopg.OperationalError, user: str, database: str) -> SessionsError:
    text = str(error)
    if "too many" in text or "connection slots" in text:
        return Unavailable(f"PostgreSQL takes no more connections. Raise its max_connections, or wait. {_LATER}")
    if "the database system is" in text:
        return Unavailable(f"PostgreSQL is starting or stopping. {_LATER}")
    if not is_passing(error):
        for parts, kind, said in _REFUSED:
            if any(part in text for part in parts):
                return kind(said.format(user=_named(user, "this user"), database=_named(database, "of that name")))
    return Unavailable("PostgreSQL can't be reached. Check that it runs, and host and port in --backend.")


def _named(name: str, otherwise: str) -> str:
    return quoted(name) if name else otherwise
