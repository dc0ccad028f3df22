"""The real Codex, in the folder of npm that MCP_SESSIONS_CODEX leads to, with a stand-in for its model."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fakes.responses_api import ResponsesApi

VARIABLE = "MCP_SESSIONS_CODEX"
_PATIENCE = 120  # seconds
_SETTINGS = """
model = "stand-in"
model_provider = "stub"
check_for_update_on_startup = false
approval_policy = "never"

[model_providers.stub]
name = "stub"
base_url = "{url}/v1"
wire_api = "responses"
"""


def is_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


def installed_codex() -> Path:
    """Return the program."""
    return Path(os.environ[VARIABLE]) / "node_modules/.bin/codex"


@dataclass(frozen=True, slots=True)
class CodexClient:
    """Codex with its home, which works in the folder `project`."""

    home: Path
    project: Path
    api: ResponsesApi

    def configure(self, snippet: str = "") -> None:
        """Write Codex's settings, with what `mcp-sessions config` prints."""
        (self.home / "config.toml").write_text(_SETTINGS.format(url=self.api.url) + snippet)

    def ask(self, prompt: str, *, resume: str = "") -> list[str]:
        """Ask a question, in a new thread or in one that is continued. Return the texts that the model was sent."""
        before = len(self.api.requests)
        self._run("exec", "--skip-git-repo-check", *(["resume", resume] if resume else []), prompt)
        items: list[dict[str, Any]] = self.api.requests[before]["input"]
        return [part["text"] for item in items if item["type"] == "message" for part in item["content"]]

    def names(self) -> dict[str, str]:
        """Return the name of each thread that Codex offers to resume."""
        (listed,) = self._call(("thread/list", {"limit": 100, "sourceKinds": ["cli", "vscode", "exec"]}))
        return {thread["id"]: thread["name"] or "" for thread in listed["data"]}

    def turns(self, thread_id: str) -> dict[str, list[str]]:
        """Return the prompts and answers of each turn that Codex continues a thread with, by the turns' ids."""
        (resumed,) = self._call(("thread/resume", {"threadId": thread_id}))
        return {
            turn["id"]: [text for item in turn["items"] for text in _texts(item)] for turn in resumed["thread"]["turns"]
        }

    def revert(self, thread_id: str, turn_id: str) -> None:
        """Take back a turn and all after it."""
        thread = {"threadId": thread_id}
        self._call(("thread/resume", thread), ("thread/revert", {**thread, "beforeTurnId": turn_id}))

    def _call(self, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the results of requests that are made one after the other, in an app-server of their own."""
        hello = {"clientInfo": {"name": "test", "title": None, "version": "1"}}
        process = self._start("app-server")
        assert process.stdin is not None and process.stdout is not None
        results: list[dict[str, Any]] = []
        with process, process.stdin as stdin:
            for number, (method, params) in enumerate((("initialize", hello), *calls)):
                stdin.write(json.dumps({"id": number, "method": method, "params": params}) + "\n")
                stdin.flush()
                results.append(
                    next(data for data in map(json.loads, process.stdout) if data.get("id") == number)["result"]
                )
        return results[1:]

    def _run(self, *arguments: str) -> None:
        with self._start(*arguments) as process:
            shown, _ = process.communicate(timeout=_PATIENCE)
            assert process.returncode == 0, shown

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        program = installed_codex()
        return subprocess.Popen(
            [program, *arguments],
            cwd=self.project,
            env={
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                "HOME": str(self.project),
                "CODEX_HOME": str(self.home),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "exec" in arguments else subprocess.DEVNULL,
            text=True,
        )


def _texts(item: dict[str, Any]) -> list[str]:
    if item["type"] == "userMessage":
        return [part["text"] for part in item["content"]]
    return [item["text"]] if item["type"] == "agentMessage" else []
