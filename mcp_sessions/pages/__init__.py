"""The page to look through sessions, one HTML file that MCP clients and `mcp-sessions browse` show."""

from collections.abc import Iterable
from importlib.resources import files

_TOOLS = '<meta name="tools" content="">'


def sessions_page(tools: Iterable[str]) -> str:
    """Return the HTML of the page. It offers only the actions of these tools."""
    html = files(__name__).joinpath("sessions.html").read_text(encoding="utf-8")
    return html.replace(_TOOLS, _TOOLS.replace('""', f'"{" ".join(tools)}"'), 1)
