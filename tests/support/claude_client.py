"""The real Claude Code, in the environment that MCP_SESSIONS_CLAUDE_CODE leads to, with a stand-in for its model."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fakes.messages_api import MessagesApi

VARIABLE = "MCP_SESSIONS_CLAUDE_CODE"
_PATIENCE = 120  # seconds
_CONTROLS = re.compile(r"\x1b(?:\[[0-9;?>=<]*[a-zA-Z]|\][^\x07]*\x07)|\s")
_LIST = """
import json
from claude_agent_sdk import get_session_messages, list_sessions
def contents(session_id):
    return [message.message["content"] for message in get_session_messages(session_id)]
print(json.dumps({
    session.session_id: [session.summary, contents(session.session_id)] for session in list_sessions()
}))
"""


def is_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


@dataclass(frozen=True, slots=True)
class ClaudeClient:
    """Claude Code with its configuration in `root`, which works in the folder `project`."""

    root: Path
    project: Path
    api: MessagesApi

    def ask(self, prompt: str, *, resume: str = "") -> list[str]:
        """Ask a question, in a new session or in one that is continued. Return the texts that the model was sent."""
        before = len(self.api.requests)
        self._run("claude", "-p", *(["--resume", resume] if resume else []), prompt)
        messages: list[Mapping[str, Any]] = self.api.requests[before]["messages"]
        return [text for message in messages for text in texts_in(message["content"])]

    def sessions(self) -> dict[str, tuple[str, list[str]]]:
        """Return the name and the texts of each session, as the SDK shows them."""
        shown: dict[str, tuple[str, list[Any]]] = json.loads(
            self._run(str(self._environment / "bin/python"), "-c", _LIST)
        )
        return {
            session_id: (name, [text for content in contents for text in texts_in(content)])
            for session_id, (name, contents) in shown.items()
        }

    def add_server(self, snippet: str) -> None:
        """Run the command that `mcp-sessions config` prints."""
        self._run("sh", "-c", snippet)

    def shown_in_terminal(self, *arguments: str, until: str) -> str:
        """Run Claude Code in a terminal until it shows a text, and end it. Return what it showed, without spaces."""
        self._accept_questions()
        terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process = subprocess.Popen(
            ["claude", *arguments],
            cwd=self.project,
            env={**self._variables, "TERM": "xterm-256color"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        shown, stops_at = "", time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < stops_at:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 65_536).decode(errors="replace")
                except OSError:  # Claude Code has closed the terminal
                    break
            if "".join(until.split()) in _CONTROLS.sub("", shown):
                process.terminate()
        try:
            process.wait(_PATIENCE)
        finally:
            process.kill()
            os.close(terminal)
        return _CONTROLS.sub("", shown)

    def _accept_questions(self) -> None:
        """Answer what Claude Code asks when it is started in a terminal or a folder for the first time."""
        path = self.root / ".claude.json"
        settings: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        settings |= {"hasCompletedOnboarding": True, "customApiKeyResponses": {"approved": ["none"], "rejected": []}}
        settings["projects"] = {str(self.project): {"hasTrustDialogAccepted": True}}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(settings))

    @property
    def _variables(self) -> dict[str, str]:
        (folder,) = self._environment.glob("lib/python*/site-packages/claude_agent_sdk/_bundled")
        return {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(self.project),
            "CLAUDE_CONFIG_DIR": str(self.root),
            "ANTHROPIC_BASE_URL": self.api.url,
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }

    @property
    def _environment(self) -> Path:
        return Path(os.environ[VARIABLE])

    def _run(self, *command: str) -> str:
        ended = subprocess.run(
            command,
            cwd=self.project,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


def texts_in(content: str | list[dict[str, Any]]) -> list[str]:
    """Return the texts in the content of a message."""
    return [content] if isinstance(content, str) else [block["text"] for block in content if "text" in block]
