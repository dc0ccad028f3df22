"""The page to look through sessions as an MCP App: clients that support it show the page with a tool's result.

Source: SEP-1865, the extension `io.modelcontextprotocol/ui`, version 2026-01-26.
"""

from collections.abc import Iterable, Sequence

from mcp.server.apps import Apps, ResourceCsp
from mcp.server.mcpserver.tools import Tool

from ..pages import sessions_page

PAGE_URI = "ui://mcp-sessions/sessions.html"
_TOOLS_WITH_PAGE = ("list_sessions", "search_sessions")


def page_extension(tools: Iterable[str]) -> Apps:
    """Return the extension that serves the page, for a server with these tools."""
    apps = Apps()
    # An empty policy allows the page nothing from outside, which is also what a client assumes without one.
    apps.add_html_resource(
        PAGE_URI, sessions_page(tools, "app_host"), title="Sessions", csp=ResourceCsp(), prefers_border=True
    )
    return apps


def bind_page(tools: Sequence[Tool]) -> Sequence[Tool]:
    """Return the tools; those whose results the page shows refer to it."""
    meta = {"ui": {"resourceUri": PAGE_URI}}
    return [tool.model_copy(update={"meta": meta}) if tool.name in _TOOLS_WITH_PAGE else tool for tool in tools]
