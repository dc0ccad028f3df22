"""Checks of a PostgreSQL server and the connection to it."""

from ipaddress import ip_address
from typing import NamedTuple

import psycopg

from ...errors import Unavailable
from ..health import CheckResult, Report
from .database import Row, Transaction

_OLDEST_VERSION = 140_000
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


def require_supported_server(connection: "psycopg.Connection[Row]") -> None:
    """Raise `Unavailable` if the server is too old, or the database can't store every text."""
    version = connection.info.server_version
    if version < _OLDEST_VERSION:
        raise Unavailable(f"the server is PostgreSQL {version // 10_000}; 14 or newer is needed. Upgrade it.")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unavailable(
            f"the PostgreSQL database is encoded in {encoding}, which can't store every text. "
            "Create one with ENCODING 'UTF8'."
        )


def report_connection(connection: "psycopg.Connection[Row]", report: Report) -> None:
    """Report the server's version and whether the connection is encrypted."""
    version = connection.info.parameter_status("server_version")
    report(CheckResult("server", f"PostgreSQL {version} accepts this role; the database is encoded in UTF8"))
    if not (connection.pgconn.ssl_in_use or _is_this_machine(connection.info.hostaddr)):
        text = (
            "the connection isn't encrypted, so others on the network can read it. Add ?sslmode=verify-full to the URL"
        )
        report(CheckResult("encryption", text, "warning"))


def _is_this_machine(address: str) -> bool:
    # libpq has no address for a Unix socket.
    return not address or ip_address(address).is_loopback


class ChangeRefusal(NamedTuple):
    """Why a database refuses all changes, and what to do so that it accepts them."""

    reason: str
    remedy: str


def refusal_of_changes(tx: Transaction) -> ChangeRefusal | None:
    """Return why the database refuses all changes, or None if it accepts them."""
    if tx.one("SELECT pg_is_in_recovery()") == (True,):
        return ChangeRefusal("the server is a standby, which accepts no changes", "Name its primary in --backend")
    if tx.one("SELECT current_setting('default_transaction_read_only')") == ("on",):
        remedy = "Turn it off for the database or the role"
        return ChangeRefusal("default_transaction_read_only is on, so nothing can be changed", remedy)
    return None


def examine_server(tx: Transaction) -> list[CheckResult]:
    """Return warnings about a server that refuses changes or may lose them."""
    checks: list[CheckResult] = []
    refusal = refusal_of_changes(tx)
    if refusal:
        text = f"{refusal.reason}. {refusal.remedy}, or offer only tools that read"
        checks.append(CheckResult("server", text, "warning", read_only_text=refusal.reason))
    off = [name for name in _DURABLE if tx.one("SELECT current_setting(?)", name) == ("off",)]
    if off:
        text = f"{', '.join(off)} is off, so a power loss may lose changes that were acknowledged. Turn it on"
        checks.append(CheckResult("durability", text, "warning"))
    return checks
