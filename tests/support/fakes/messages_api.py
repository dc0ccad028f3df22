"""A stand-in for Anthropic's Messages API that makes the tool calls it is told to, then gives the same answer."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class MessagesApi(ThreadingHTTPServer):
    """Answers with the next of `calls`, then with "Understood.", and keeps the bodies of the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Tools to call, each with its arguments. One that is not offered yet is searched for first."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        assert isinstance(self.server, MessagesApi)
        self.server.requests.append(body)
        text: dict[str, Any] = {"type": "text", "text": "Understood."}
        if body.get("stream"):
            if self.server.calls and body.get("tools"):
                name, arguments = self.server.calls[0]
                if name in (tool.get("name") for tool in body["tools"]):
                    del self.server.calls[0]
                else:  # it is not loaded yet, or its server is still starting
                    name, arguments = "ToolSearch", {"query": f"select:{name}"}
                number = len(self.server.requests)
                block: dict[str, Any] = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
                reason = "tool_use"
            else:
                block, delta, reason = text | {"text": ""}, {"type": "text_delta", "text": text["text"]}, "end_turn"
            events: list[dict[str, Any]] = [
                {"type": "message_start", "message": _MESSAGE | {"id": f"msg_{len(self.server.requests)}"}},
                {"type": "content_block_start", "index": 0, "content_block": block},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}},
                {"type": "message_stop"},
            ]
            answer = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
            self._send("text/event-stream", answer)
        else:
            self._send("application/json", json.dumps({**_MESSAGE, "content": [text]}).encode())

    def _send(self, content_type: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def messages_api() -> Generator[MessagesApi]:
    with MessagesApi() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
