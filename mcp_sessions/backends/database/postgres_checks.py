"""What can be said of a PostgreSQL server, whatever is stored there."""

from ipaddress import ip_address

import psycopg

from ..base import Check, Tell
from .database import Row, Transaction

_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


def tell_of_connection(connection: "psycopg.Connection[Row]", tell: Tell) -> None:
    version = connection.info.parameter_status("server_version")
    tell(Check("server", f"PostgreSQL {version} answers and lets this role in; the database is encoded in UTF8"))
    if not (connection.pgconn.ssl_in_use or _is_this_machine(connection.info.hostaddr)):
        text = "the connection isn't encrypted, and can be read on the way. Add ?sslmode=verify-full to --backend"
        tell(Check("encryption", text, "warning"))


def _is_this_machine(address: str) -> bool:
    """libpq gives none for a socket of the machine's own."""
    return not address or ip_address(address).is_loopback


def examine_server(tx: Transaction) -> list[Check]:
    checks: list[Check] = []
    if tx.one("SELECT pg_is_in_recovery()") == (True,):
        text = "a standby, which takes no changes. Name its primary in --backend, or set --read-only"
        checks.append(Check("server", text, "warning"))
    elif tx.one("SELECT current_setting('default_transaction_read_only')") == ("on",):
        text = (
            "it is set to be read only (default_transaction_read_only), so sessions can only be read. Turn that off "
            "for the database or the role, or set --read-only"
        )
        checks.append(Check("server", text, "warning"))
    off = [name for name in _DURABLE if tx.one("SELECT current_setting(?)", name) == ("off",)]
    if off:
        text = f"{', '.join(off)} is off there, so a power loss may take what was acknowledged. Turn it on"
        checks.append(Check("durability", text, "warning"))
    return checks
