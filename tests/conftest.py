"""What tests share: one event loop implementation, and how doctor is run; and which real servers this run has not."""

import os

import pytest

from .doctored import Examine, examining

REAL_SERVERS = {"PostgreSQL": "MCP_SESSIONS_POSTGRES", "AgentOS": "MCP_SESSIONS_AGENTOS"}


def pytest_report_header() -> list[str]:
    return [
        f"{system}: not named in {variable}, so nothing runs on a real one"
        for system, variable in REAL_SERVERS.items()
        if not os.environ.get(variable)
    ]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def examined(capsys: pytest.CaptureFixture[str]) -> Examine:
    return examining(capsys)
