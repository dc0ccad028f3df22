"""What all tests share: one event loop implementation, stores, and which tests need real servers."""

import gc
import os

import pytest

from .support.doctor import Examine, examining
from .support.servers import agentos_process, opencode_process, postgres_process

pytest_plugins = ("tests.support.stores",)

REAL_SERVERS = {
    "PostgreSQL": "MCP_SESSIONS_POSTGRES",
    "AgentOS": "MCP_SESSIONS_AGENTOS",
    "opencode": "MCP_SESSIONS_OPENCODE",
}
NEED_AGENTOS = [
    f"backends/agentos/test_{name}.py" for name in ("auth", "fake", "hazards", "names", "write_hazards", "writes")
]

collect_ignore = [
    *([] if agentos_process.are_installed() else NEED_AGENTOS),
    *([] if opencode_process.are_installed() else ["backends/opencode/test_real.py"]),
]
collect_ignore_glob = [] if postgres_process.is_installed() else ["*/test_*postgres*.py"]


def pytest_report_header() -> list[str]:
    return [
        f"{system}: not named in {variable}, so nothing runs on a real one"
        for system, variable in REAL_SERVERS.items()
        if not os.environ.get(variable)
    ]


def pytest_collection_finish() -> None:
    gc.freeze()  # else every collection of garbage looks through thousands of collected tests


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def examined(capsys: pytest.CaptureFixture[str]) -> Examine:
    return examining(capsys)
