"""Real opencode servers in processes of their own, installed in the folder that MCP_SESSIONS_OPENCODE names."""

import atexit
import json
import os
import sqlite3
import subprocess
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from threading import Timer

import pytest

from mcp_sessions.backends.opencode.server_process import prevent_installation
from mcp_sessions.json_documents import JsonObject

from ..fakes.opencode.seeds import SeededSession
from ..opencode_database import insert
from .stub_model import running_model

VARIABLE = "MCP_SESSIONS_OPENCODE"
"""A folder with `opencode-VERSION` for each version, as `.ci/opencode` makes it."""

_START_SECONDS = 60
_PASSWORD = "a-password"
_CONFIGURATION: JsonObject = {
    "autoupdate": False,
    "share": "disabled",
    "model": "stub/stub-model",
    "small_model": "stub/stub-model",
    "provider": {
        "stub": {
            "npm": "@ai-sdk/openai-compatible",
            "models": {"stub-model": {"limit": {"context": 200_000, "output": 8_000}}},
        }
    },
}


def are_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


@dataclass(frozen=True, slots=True)
class Opencode:
    """A server that accepts connections, and its database."""

    origin: str
    database: Path
    program: str
    password: str = _PASSWORD

    @property
    def backend_url(self) -> str:
        return f"opencode+{self.origin}"

    def clear(self) -> None:
        """Delete all sessions, which opencode doesn't notice."""
        with closing(self._connect()) as connection, connection:
            for table in ("part", "message", "session"):
                connection.execute(f"DELETE FROM {table}")

    def seed(self, *seeds: SeededSession) -> list[str]:
        """Write sessions into the database, and return their ids."""
        with closing(self._connect()) as connection, connection:
            return insert(connection, *seeds)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.database, timeout=20)


@cache
def running(version: str) -> Opencode:
    """Return the server of this version, started when first asked for. One that doesn't start ends the test run."""
    folder = Path(mkdtemp(prefix="opencode-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    environment = _environment(folder)
    (folder / "project").mkdir()
    process = subprocess.Popen(
        [_program(version), "serve", "--port", "0", "--hostname", "127.0.0.1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=folder / "project",
        text=True,
    )
    atexit.register(_end, process)
    overdue = Timer(_START_SECONDS, process.kill)
    overdue.start()
    assert process.stdout is not None
    line = next((line for line in process.stdout if "listening on" in line), "")
    overdue.cancel()
    if not line:
        pytest.exit(f"opencode {version} did not start", returncode=1)
    return Opencode(line.split()[-1], folder / "data/opencode/opencode.db", _program(version))


def _program(version: str) -> str:
    """Return the program itself, since opencode's launcher starts it as a child that outlives the launcher."""
    root = Path(os.environ[VARIABLE]).expanduser() / f"opencode-{version}"
    found = sorted(root.glob("node_modules/opencode-*/bin/opencode"), key=lambda path: "baseline" in str(path))
    if not found:
        pytest.exit(f"{root} has no opencode; .ci/opencode installs it", returncode=1)
    return str(found[0])


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which the server keeps all its files in this folder and downloads nothing."""
    configuration = folder / "config" / "opencode" / "opencode.json"
    prevent_installation(configuration.parent)
    configured = deepcopy(_CONFIGURATION)
    model = running_model()
    configured["provider"]["stub"]["options"] = {"baseURL": model.url, "apiKey": "none"}
    configuration.write_text(json.dumps(configured), encoding="utf-8")
    folders = {"HOME": "home", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD")
    return {
        **os.environ,
        **{name: str(folder / part) for name, part in (folders | {"XDG_STATE_HOME": "state"}).items()},
        **{f"OPENCODE_DISABLE_{name}": "1" for name in switches},
        "OPENCODE_SERVER_PASSWORD": _PASSWORD,
        "npm_config_registry": model.url,
        "NO_COLOR": "1",
    }


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
