"""The start of the server beside the SDK's smallest one, in one run."""

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.bench_start import start_ratios


@pytest.mark.timing
@pytest.mark.parametrize("answer", [1, 2], ids=["initialize", "tools/list"])
def test_the_first_answers_come_about_as_early_as_from_an_empty_server(answer: int, tmp_path: Path) -> None:
    assert median(start_ratios(tmp_path, rounds=7, answer=answer)) < 1.25


def test_only_the_chosen_backend_and_command_are_imported() -> None:
    source = (
        "import sys, mcp_sessions.cli.serve\n"
        "from mcp_sessions import open_backend\n"
        "before = 'mcp_sessions.backends.sql' in sys.modules\n"
        "open_backend('sqlite:///:memory:')\n"
        "print(before, 'mcp_sessions.backends.sql' in sys.modules, 'mcp_sessions.cli.demo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.split() == ["False", "True", "False"]


def test_importing_the_package_does_not_load_the_sdk() -> None:
    source = "import sys, mcp_sessions; print('mcp' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
