"""What all tests share: one event loop implementation, stores, and which tests need real servers."""

import gc
import os
from collections.abc import Generator

import pytest

from .support import claude_client, codex_client, webdriver
from .support.doctor import Examine, examining
from .support.servers import agentos_process, opencode_process, postgres_process

pytest_plugins = ("tests.support.stores",)

REAL_SERVERS = {
    "PostgreSQL": "MCP_SESSIONS_POSTGRES",
    "AgentOS": "MCP_SESSIONS_AGENTOS",
    "Chromium": webdriver.VARIABLE,
    "Claude Code": claude_client.VARIABLE,
    "Codex": codex_client.VARIABLE,
    "opencode": "MCP_SESSIONS_OPENCODE",
}
NEED_AGENTOS = [
    f"backends/agentos/test_{name}.py" for name in ("auth", "fake", "hazards", "names", "write_hazards", "writes")
]

collect_ignore = [
    *([] if agentos_process.are_installed() else NEED_AGENTOS),
    *([] if claude_client.is_installed() else ["backends/claude_code/test_client.py"]),
    *([] if codex_client.is_installed() else ["backends/codex/test_client.py"]),
    *([] if opencode_process.are_installed() else ["backends/opencode/test_real.py"]),
]
collect_ignore_glob = [] if postgres_process.is_installed() else ["*/test_*postgres*.py"]
collect_ignore_glob += [] if webdriver.is_installed() else ["browser/test_*.py"]


def pytest_report_header() -> list[str]:
    return [
        f"{system}: not named in {variable}, so nothing runs on a real one"
        for system, variable in REAL_SERVERS.items()
        if not os.environ.get(variable)
    ]


def pytest_collection() -> None:
    gc.disable()  # else it looks again and again through thousands of new objects, of which next to none are garbage


def pytest_collection_finish() -> None:
    gc.freeze()  # else every collection of garbage looks through thousands of collected tests
    gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def empty_user_folders(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Give all tests empty data and cache folders, so that none reads or changes this user's overlay or index."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def examined(capsys: pytest.CaptureFixture[str]) -> Examine:
    return examining(capsys)
