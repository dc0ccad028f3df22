"""Translation of PostgreSQL's errors by their codes. Their texts may contain stored text, so they are never shown."""

import psycopg
from psycopg import errors

from ...errors import Forbidden, SessionsError, Timeout, Unauthorized, Unavailable, quoted

RETRYABLE = (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure)
"""Errors of a transaction that conflicted with another one, and may succeed after it."""

_CONNECTION_LOST = ("08", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03")
"""Prefixes of codes after which the server closes the connection."""
_TRY_LATER = "Try again later."


class ReadOnlyDatabase(Unavailable):
    """The database accepts no changes: it is a standby, or set to be read-only."""


def is_lost(error: BaseException, connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Return whether the connection is closed, or about to be closed by the server."""
    return connection.closed or (
        isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_CONNECTION_LOST)
    )


def statement_error(error: psycopg.Error, seconds: float, schema: str) -> SessionsError | None:
    """Return the error for a failed statement, whose transaction was rolled back. Return None for a bug of ours."""
    match error.sqlstate or "":
        case "57014":
            return Timeout(f"PostgreSQL did not finish within {seconds:g} s; nothing was changed. Try again.")
        case "55P03":
            return Timeout(f"other calls locked the store for {seconds:g} s; nothing was changed. Try again.")
        case "25006":
            return ReadOnlyDatabase(
                "the PostgreSQL database accepts no changes: it is a standby, or set to be read-only. Name its primary "
                "in the URL, or try again when it accepts changes."
            )
        case "42501":
            return Forbidden(
                f"this PostgreSQL role lacks a privilege in the schema {schema}. Ask its owner to grant it, "
                "or name another role in the URL."
            )
        case "42P01" | "3F000":
            return Unavailable("the store's tables no longer exist. Restart mcp-sessions to create them.")
        case "53100":
            return Unavailable("PostgreSQL's disk is full; nothing was changed. Free some space and try again.")
        case "53200" | "53300" | "53400":
            return Unavailable(f"PostgreSQL has no memory or connections left; nothing was changed. {_TRY_LATER}")
        case state if state.startswith(("58", "XX")):
            return Unavailable("PostgreSQL failed to read or write its files; nothing was changed. See its log.")
        case _:
            return None


# A refused connection has no error code, only a text in the server's language. If no part of the text is recognized,
# the error is a general one.
_CONNECTION_ERRORS: tuple[tuple[tuple[str, ...], type[SessionsError], str], ...] = (
    (
        ("no password supplied",),
        Unauthorized,
        "PostgreSQL requires a password for {user}. Set PGPASSWORD or ~/.pgpass, or put it into the URL.",
    ),
    (
        ("password authentication failed", "authentication failed", "SCRAM"),
        Unauthorized,
        "PostgreSQL refused the password or name of {user}. Correct it in the URL.",
    ),
    (
        ("role ",),
        Unauthorized,
        "PostgreSQL has no role {user}, or it may not log in. Name another in the URL.",
    ),
    (
        ("pg_hba.conf",),
        Forbidden,
        "PostgreSQL does not let {user} connect from this machine. Ask an administrator to add it to pg_hba.conf.",
    ),
    (
        ("permission denied for database",),
        Forbidden,
        "{user} may not connect to this PostgreSQL database. Ask its owner to grant CONNECT.",
    ),
    (
        ("database ",),
        Unavailable,
        "PostgreSQL has no database {database}, or accepts no connections to it. Create it, or name another.",
    ),
    (("could not translate host name",), Unavailable, "the host in the URL is unknown. Correct it."),
    (
        ("SSL", "certificate", "ssl"),
        Unavailable,
        "no encrypted connection to PostgreSQL could be made with the URL's options. Check sslmode and certificates.",
    ),
)
_TEMPORARY = (
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


def is_temporary(error: psycopg.OperationalError) -> bool:
    """Return whether connecting may succeed a moment later, for example because the server restarts."""
    text = str(error)
    return any(part in text for part in _TEMPORARY)


def connection_error(error: psycopg.OperationalError, user: str, database: str) -> SessionsError:
    """Return the error for a failed attempt to connect."""
    text = str(error)
    if "too many" in text or "connection slots" in text:
        return Unavailable(
            f"PostgreSQL accepts no more connections. {_TRY_LATER} If that persists, raise max_connections."
        )
    if "the database system is" in text:
        return Unavailable(f"PostgreSQL is starting or stopping. {_TRY_LATER}")
    if not is_temporary(error):
        for parts, error_type, template in _CONNECTION_ERRORS:
            if any(part in text for part in parts):
                return error_type(
                    template.format(user=_named(user, "this user"), database=_named(database, "of that name"))
                )
    return Unavailable("PostgreSQL can't be reached. Check that it runs, and the host and port in the URL.")


def _named(name: str, default: str) -> str:
    return quoted(name) if name else default
