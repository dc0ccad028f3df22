"""A client that shows the page as an MCP App, as hosts do: in a sandboxed frame, or in one inside a proxy's frame.

The browser holds the frames and the messages; this side answers the messages with a real client of a real server.
Source of the messages: SEP-1865, version 2026-01-26.
"""

from typing import Any

from mcp.client import Client
from mcp.types import TextResourceContents

from tests.support.webdriver import Browser

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'none'; "
    "frame-src 'none'; base-uri 'none'; form-action 'none'"
)
_FRAME = """
    const [html, name] = arguments;
    window.received = [];
    addEventListener("message", (event) => { window.received.push(event.data); });
    const frame = document.createElement("iframe");
    frame.title = "View";
    frame.sandbox = "allow-scripts";
    frame.style = "width: 900px; height: 600px; border: 0";
    frame.srcdoc = html;
    document.body.replaceChildren(frame);
    window.post = (message) => frame.contentWindow.postMessage(message, "*");
"""
_PROXY = """<!doctype html><title>Proxy</title><body><script>
    let view = null;
    addEventListener("message", ({ source, data }) => {
      if (source === parent && data.method === "ui/notifications/sandbox-resource-ready") {
        const frame = document.createElement("iframe");
        Object.assign(frame, { title: "View", sandbox: data.params.sandbox, srcdoc: data.params.html });
        frame.style = "width: 880px; height: 580px; border: 0";
        document.body.append(frame);
        view = frame.contentWindow;
      } else if (source === parent) view.postMessage(data, "*");
      else if (source === view) parent.postMessage(data, "*");
    });
    parent.postMessage({ jsonrpc: "2.0", method: "ui/notifications/sandbox-proxy-ready", params: {} }, "*");
</script>"""
_LOOKS = 2_000


class AppHost:
    """A host with one view. `frames`: 1, or 2 for a view inside a proxy's frame.

    `extra`: fields to add to every session that a result lists, for systems that aren't at hand.
    """

    def __init__(self, browser: Browser, client: Client, frames: int, extra: dict[str, Any] | None = None) -> None:
        self._browser = browser
        self._client = client
        self._frames = frames
        self._extra = extra or {}
        self._shown: tuple[str, dict[str, Any]] = ("", {})
        self._html = ""
        self.messages: list[dict[str, Any]] = []
        """All messages from the view, in their order."""

    async def show(self, tool: str, **arguments: Any) -> None:
        """Call the tool as the model does, and show its result in the page that the tool refers to."""
        (meta,) = [one.meta or {} for one in (await self._client.list_tools()).tools if one.name == tool]
        (content,) = (await self._client.read_resource(meta["ui"]["resourceUri"])).contents
        assert isinstance(content, TextResourceContents)
        policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        self._html = content.text.replace('<meta charset="utf-8">', f'<meta charset="utf-8">{policy}', 1)
        self._shown = (tool, arguments)
        self._browser.script(_FRAME, self._html if self._frames == 1 else _PROXY)

    def enter(self) -> None:
        self._browser.leave_frames()
        for _ in range(self._frames):
            self._browser.enter_frame(0)

    async def until(self, condition: str, *arguments: Any) -> Any:
        """Answer the view's messages until an expression is true in the view, and return its value."""
        for _ in range(_LOOKS):
            await self._answer_all()
            if len([one for one in self.messages if one.get("method") == "ui/initialize"]) == 0:
                continue
            self.enter()
            if value := self._browser.script(f"return {condition}", *arguments):
                return value
        shown = self._browser.script("return document.body.innerText")
        raise AssertionError(f"never true: {condition} {arguments}; the view shows: {shown[:2000]}")

    def send(self, **message: Any) -> None:
        self._browser.leave_frames()
        self._browser.script("window.post(arguments[0])", {"jsonrpc": "2.0", **message})

    async def _answer_all(self) -> None:
        self._browser.leave_frames()
        for message in self._browser.script("return window.received.splice(0)"):
            self.messages.append(message)
            await self._answer(message)

    async def _answer(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "ui/notifications/sandbox-proxy-ready"}:
                given = {"html": self._html, "sandbox": "allow-scripts"}
                self.send(method="ui/notifications/sandbox-resource-ready", params=given)
            case {"method": "ui/initialize", "id": id, "params": {"protocolVersion": version}}:
                self.send(id=id, result={"protocolVersion": version, "hostContext": {"theme": "dark"}})
            case {"method": "ui/notifications/initialized"}:
                tool, arguments = self._shown
                self.send(method="ui/notifications/tool-input", params={"arguments": arguments})
                self.send(method="ui/notifications/tool-result", params=await self._call(tool, arguments))
            case {"method": "tools/call", "id": id, "params": {"name": tool, "arguments": arguments}}:
                self.send(id=id, result=await self._call(tool, arguments))
            case {"method": "ui/message", "id": id}:
                self.send(id=id, result={})
            case _:
                pass

    async def _call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = (await self._client.call_tool(tool, arguments)).model_dump(mode="json", by_alias=True)
        content: dict[str, list[dict[str, Any]]] = result["structuredContent"] or {}
        for session in content.get("sessions", ()):
            session.update(self._extra)
        return result
