"""The start of the server compared with the SDK's smallest server, in one run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.bench_start import AT_ONCE, slowest_start
from tests.benchmarks.clients import OURS, SDK
from tests.benchmarks.measuring import assert_below


@pytest.mark.timing
async def test_one_server_and_five_at_once_list_their_tools_before_an_empty_server_has_loaded_the_sdk(
    tmp_path: Path,
) -> None:
    slowest_start(OURS, tmp_path, 1)  # stores its answers, which no later start has to

    async def measure() -> dict[str, float]:
        empty = slowest_start(SDK, tmp_path, 1)
        return {
            "one": slowest_start(OURS, tmp_path, 1) / empty,
            "five at once": slowest_start(OURS, tmp_path, AT_ONCE) / empty,
        }

    await assert_below({"one": 0.4, "five at once": 1}, measure)


def test_a_clients_configuration_is_printed_without_loading_the_sdk() -> None:
    statements = """
from contextlib import redirect_stdout
from io import StringIO
from mcp_sessions.cli.main import main
with redirect_stdout(StringIO()):
    assert main(["config", "codex"]) == 0
"""
    assert loaded_by(statements, "mcp_sessions.cli.config", "mcp") == [True, False]


def loaded_by(statements: str, *modules: str) -> list[bool]:
    """Return which of these modules a new process has loaded after running these statements."""
    source = f"import sys\n{statements}\nprint(*(name in sys.modules for name in {modules}))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, encoding="utf-8", check=True, timeout=60)
    return [word == "True" for word in done.stdout.split()]


@pytest.mark.slow
def test_only_the_chosen_backend_and_command_are_imported() -> None:
    modules = "mcp_sessions.backends.sql.backend", "mcp_sessions.backends.agentos.backend", "mcp_sessions.cli.demo"
    statements = "import mcp_sessions.cli.serve\nfrom mcp_sessions import open_backend"
    assert loaded_by(statements, *modules) == [False, False, False]
    assert loaded_by(f"{statements}\nopen_backend('sqlite:///:memory:')", *modules) == [True, False, False]


@pytest.mark.parametrize("module", ["mcp_sessions", "mcp_sessions.cli.main", "mcp_sessions.config.settings"])
def test_the_package_and_its_settings_do_not_import_the_sdk(module: str) -> None:
    assert loaded_by(f"import {module}", "mcp", "pydantic", "httpx2") == [False, False, False]
