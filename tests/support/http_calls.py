"""Tool calls over HTTP as bare requests, the cheapest client there is, each with the same id."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.support.stdio_client import call, modern

ID = 1


class Calls:
    """One client on a connection of its own. `era` is a protocol version."""

    def __init__(self, http: httpx2.AsyncClient, url: str, era: str) -> None:
        self._http = http
        self._url = url
        self._era = era

    def request(self, tool: str, arguments: dict[str, Any], **headers: str) -> httpx2.Request:
        is_modern = self._era == "2026-07-28"
        frame = modern(ID, "tools/call", name=tool, arguments=arguments) if is_modern else call(ID, tool, **arguments)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if is_modern:
            named |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        return self._http.build_request(
            "POST",
            self._url,
            json=frame,
            headers={"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": self._era, **named},
        )

    async def call(self, tool: str, *, headers: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
        """Return the result of a call, which must succeed."""
        result = await self.result(tool, headers=headers, **arguments)
        assert not result.get("isError"), result
        return result["structuredContent"]

    async def result(self, tool: str, *, headers: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
        """Return the result of a call, which may be an error."""
        response = await self._http.send(self.request(tool, arguments, **(headers or {})))
        assert response.status_code == 200, response.text
        answer = answer_of(response)
        assert answer["id"] == ID
        return answer["result"]


def answer_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON-RPC response in a body, or in the only event of a stream."""
    if response.headers["content-type"].startswith("application/json"):
        return response.json()
    (data,) = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return json.loads(data)


@asynccontextmanager
async def calls(url: str, era: str = "2026-07-28", token: str = "") -> AsyncGenerator[Calls]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False, verify=False) as http:
        yield Calls(http, url, era)
