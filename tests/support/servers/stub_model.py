"""A language model that answers offline, over OpenAI's protocol, and a package registry without any package.

A test decides when the model answers.
"""

import json
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from mcp_sessions.json_documents import JsonObject

TITLE = "Automatic title"
_WAIT_SECONDS = 60


class StubModel:
    """A model at `url`. `title_requested` is set by a request for a title, which is answered after `title_allowed`.

    Other requests are answered at once, unless a test clears `answer_allowed`. They set `answer_requested`.
    `downloads` are the paths that were asked for with GET, as a program does that installs a package from `url`.
    """

    def __init__(self) -> None:
        self.downloads: list[str] = []
        self.title_requested = Event()
        self.title_allowed = Event()
        self.answer_requested = Event()
        self.answer_allowed = Event()
        self.answer_allowed.set()
        handler = type("Handler", (_Handler,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Let the next title wait."""
        self.title_requested.clear()
        self.title_allowed.clear()

    def answer(self, prompt: str) -> str:
        """Return the answer to all messages of a request, as JSON."""
        if "title generator" not in prompt:
            self.answer_requested.set()
            self.answer_allowed.wait(_WAIT_SECONDS)
            return "Yes."
        self.title_requested.set()
        self.title_allowed.wait(_WAIT_SECONDS)
        return TITLE


@cache
def running_model() -> StubModel:
    """Return the model, which runs until the test run ends."""
    return StubModel()


class _Handler(BaseHTTPRequestHandler):
    model: StubModel

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""

    def do_GET(self) -> None:
        self.model.downloads.append(self.path)
        self.send_error(404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = self.model.answer(json.dumps(body["messages"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        self._send(choices=[{"index": 0, "delta": {"role": "assistant", "content": text}}])
        self._send(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}], usage=usage)
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, **fields: object) -> None:
        chunk: JsonObject = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "stub-model"}
        self.wfile.write(b"data: " + json.dumps(chunk | fields).encode() + b"\n\n")
