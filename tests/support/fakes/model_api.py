"""A stand-in for a model's API: a server on this machine that makes the tool calls it is told to, then one answer."""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

ANSWER = "Understood."
Answer = tuple[str, str]
"""A content type, and a text."""


class ModelApi(ThreadingHTTPServer, ABC):
    """Answers with the next of `calls`, then with "Understood.", and keeps the bodies of the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Tools to call, each with its arguments."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @abstractmethod
    def answer(self, body: dict[str, Any]) -> Answer: ...


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        assert isinstance(self.server, ModelApi)
        self.server.requests.append(body)
        content_type, text = self.server.answer(body)
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def events(*data: dict[str, Any]) -> Answer:
    """Return an answer that is a stream of events, each with its type as its name."""
    return "text/event-stream", "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in data)


A = TypeVar("A", bound=ModelApi)


@contextmanager
def serving(api: A) -> Generator[A]:
    """Run a server until the context is left."""
    with api:
        thread = threading.Thread(target=api.serve_forever, daemon=True)
        thread.start()
        try:
            yield api
        finally:
            api.shutdown()
            thread.join()
