"""`mcp-sessions token new`: create a token, and print it with its line for the file of `--tokens`."""

import sys
from datetime import UTC, datetime

from mcp_sessions.caller import Scope
from mcp_sessions.cli.refusals import refuse
from mcp_sessions.config.settings import Settings
from mcp_sessions.transports.auth.tokens import new_token


def run(settings: Settings, *, action: str, subject: str, scopes: str, expires: str) -> int:
    """Print only the token and its line on stdout. Return the exit status."""
    names = [name.strip() for name in scopes.split(",") if name.strip()]
    if not names or not set(names) <= set(Scope):
        return refuse(f"--scopes can't be {scopes[:80]!r}: it accepts a comma-separated list of {', '.join(Scope)}.")
    try:
        until = datetime.fromisoformat(expires) if expires else None
        until = (until if until.tzinfo else until.replace(tzinfo=UTC)).astimezone(UTC) if until else None
    except (ValueError, OverflowError):
        return refuse(
            f"--expires can't be {expires[:80]!r}: it accepts a time such as 2027-01-31 or 2027-01-31T12:00Z."
        )
    if until is not None and until <= datetime.now(UTC):
        return refuse(f"--expires can't be {expires[:80]!r}: it is in the past. It accepts a future time.")
    try:
        token, line = new_token(subject, [scope for scope in Scope if scope in names], until)
    except ValueError:
        return refuse(f"--subject can't be {subject[:80]!r}: it accepts up to 512 printable characters.")
    print("The token, which is shown only once, then its line for the file of --tokens:", file=sys.stderr, flush=True)
    print(token)
    print(line)
    return 0
