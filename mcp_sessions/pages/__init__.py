"""The page to look through sessions, which MCP clients and `mcp-sessions browse` show: HTML with one script."""

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Literal

Connection = Literal["app_host", "local_server"]
"""How the page calls tools: through the client that shows it, or over HTTP."""

_TOOLS = '<meta name="tools" content="">'
_CONNECTION = "/* connection */"
_INDENTATION = re.compile(r"(?<=\n) +(?://.*\n)?|(?<=\n)//.*\n")


def sessions_page(tools: Iterable[str], connection: Connection) -> str:
    """Return the HTML of the page, without indentation and comments. It offers only the actions of these tools."""
    html, script = (_read(name) for name in ("sessions.html", f"{connection}.js"))
    html = html.replace(_CONNECTION, script, 1).replace(_TOOLS, _TOOLS.replace('""', f'"{" ".join(tools)}"'), 1)
    return _INDENTATION.sub("", html)


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
