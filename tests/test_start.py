"""The start of the server beside the SDK's smallest one, in one run."""

import subprocess
import sys

import pytest

from tests.benchmarks.bench_start import ratios


@pytest.mark.timing
def test_the_first_reply_comes_about_as_early_as_from_an_empty_server() -> None:
    first, listed = ratios(rounds=7)
    assert first < 1.25
    assert listed < 1.25


def test_only_the_chosen_backend_and_command_are_imported() -> None:
    source = (
        "import sys, mcp_sessions.commands.serve\n"
        "from mcp_sessions import open_backend\n"
        "before = 'mcp_sessions.backends.sql' in sys.modules\n"
        "open_backend('sqlite:///:memory:')\n"
        "print(before, 'mcp_sessions.backends.sql' in sys.modules, 'mcp_sessions.commands.demo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.split() == ["False", "True", "False"]


def test_importing_the_package_does_not_load_the_sdk() -> None:
    source = "import sys, mcp_sessions; print('mcp' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
