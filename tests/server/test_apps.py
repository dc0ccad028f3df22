"""The page as an MCP App: which tools refer to it, how a client reads it, and what is in the file."""

import re
from typing import Any

import pytest
from mcp.types import TextResourceContents

from mcp_sessions import create_server, open_backend
from mcp_sessions.pages import Connection, sessions_page
from tests.support.clients import Peer, both_eras, serving
from tests.tools.test_policy import length, offered

URI = "ui://mcp-sessions/sessions.html"
TOOLS_WITH_PAGE = {"list_sessions", "search_sessions"}
each_connection = pytest.mark.parametrize("connection", ["app_host", "local_server"])


async def page_of(peer: Peer) -> tuple[dict[str, Any], str]:
    """Return the page as `resources/read` returns it, without its text, and the text."""
    (content,) = (await peer.client.read_resource(URI)).contents
    assert isinstance(content, TextResourceContents)
    return content.model_dump(mode="json", by_alias=True, exclude={"text"}, exclude_none=True), content.text


@both_eras
async def test_lists_and_searches_refer_to_a_page_that_may_load_nothing(era: str) -> None:
    async with serving(era) as peer:
        tools = (await peer.client.list_tools()).tools
        assert {tool.name for tool in tools if tool.meta} == TOOLS_WITH_PAGE
        assert [tool.meta for tool in tools if tool.meta] == [{"ui": {"resourceUri": URI}}] * 2
        described, _ = await page_of(peer)
        assert described == {
            "uri": URI,
            "mimeType": "text/html;profile=mcp-app",
            "_meta": {"ui": {"csp": {}, "prefersBorder": True}},
        }


async def test_the_page_is_not_among_the_sessions_that_clients_offer_as_resources() -> None:
    async with serving() as peer:
        assert (await peer.client.list_resources()).resources == []


async def test_the_extension_is_declared_to_clients_of_the_newest_protocol() -> None:
    async with serving("auto") as peer:
        assert peer.client.server_capabilities.extensions == {"io.modelcontextprotocol/ui": {}}


async def test_without_apps_nothing_refers_to_a_page() -> None:
    async with serving("auto", apps=False) as peer:
        assert [tool.meta for tool in (await peer.client.list_tools()).tools if tool.meta] == []
        assert peer.client.server_capabilities.extensions is None


async def test_the_reference_costs_few_characters() -> None:
    with_page, without = await offered(), await offered(apps=False)
    assert length(*with_page.values()) - length(*without.values()) <= 160


async def test_the_page_offers_only_the_actions_whose_tools_are_offered() -> None:
    async with serving(read_only=True, toolsets=("sessions",)) as peer:
        _, html = await page_of(peer)
        tools = [tool.name for tool in (await peer.client.list_tools()).tools]
    assert re.findall('<meta name="tools" content="(.*)">', html) == [" ".join(tools)]
    assert "rename_session" not in tools


async def test_what_a_server_offers_with_a_page_is_not_kept_for_the_next_server() -> None:
    create_server(open_backend())
    assert not any(tool.meta for tool in (await offered(apps=False)).values())


@each_connection
def test_the_page_is_small_and_has_no_way_to_turn_text_into_markup_or_code(connection: Connection) -> None:
    html = sessions_page([], connection)
    assert len(html.encode()) <= 40 * 1024
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "setHTML"):
        assert word not in html
    for word in ("DOMParser", "srcdoc", "createContextualFragment", "import(", "http:", "https:", "//cdn", "<form"):
        assert word not in html


@each_connection
def test_the_page_has_one_script_and_one_style_and_no_handlers_in_attributes(connection: Connection) -> None:
    html = sessions_page([], connection)
    assert [html.count(tag) for tag in ("<script>", "<script", "<style>", "<style", " style=")] == [1, 1, 1, 1, 0]
    assert re.findall(r"<[^>]* on\w+=", html.partition("<script>")[0]) == []
