"""Finds environment variables that look like settings and have no effect."""

from collections.abc import Generator, Mapping

from .backend_addresses import read_addresses
from .settings import PREFIX, SETTINGS, Settings

_TEST_VARIABLES = ["AGENTOS", "BROWSER", "CLAUDE_CODE", "CODEX", "COMMAND", "CONTRACT", "OPENCODE", "PEERS", "POSTGRES"]
"""The ends of the names of variables that configure tests and examples."""


def unknown_variables(environ: Mapping[str, str], settings: Settings) -> Generator[str]:
    """Yield a warning for each variable that has the prefix of settings but no effect."""
    known = [setting.variable for setting in SETTINGS.values()]
    addresses = read_addresses(settings.backend)
    known += [address.token_variable for address in addresses]
    if settings.token and len(addresses) > 1 and all(address.name for address in addresses):
        variables = " or ".join(address.token_variable for address in addresses)
        yield f"MCP_SESSIONS_TOKEN has no effect, since each backend has a name; set {variables}"
    for name in environ:
        if name.startswith(PREFIX) and name not in known and name.removeprefix(PREFIX) not in _TEST_VARIABLES:
            from difflib import get_close_matches  # imported here, since most starts don't need it

            ends = [variable.removeprefix(PREFIX) for variable in known]
            nearest = get_close_matches(name.removeprefix(PREFIX), ends, n=1)
            hint = f"the most similar setting is {PREFIX}{nearest[0]}" if nearest else "--help lists the settings"
            yield f"{name} is not a setting and has no effect; {hint}"
