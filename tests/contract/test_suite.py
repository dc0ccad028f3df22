"""The suite itself: every operation works or is refused, and every known deviation really fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_sessions.backends.base import REQUIRED, Capability
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Unsupported

from .cells import VARIABLE, harnesses
from .harness import Harness, Seed, System
from .operations import CALLS
from .samples import exchanges

ELSEWHERE = """
from tests.contract.embedded import RequiredOnlyHarness


class Elsewhere(RequiredOnlyHarness):
    name = "elsewhere"
    deviations = {
        "test_a_declared_operation_works[list_sessions]": "is stale",
        "test_a_declared_operation_works[get_session]": "knows no session that was seeded",
    }

    async def seed(self, backend, seeds):
        return [session_id + "x" for session_id in await super().seed(backend, seeds)]
"""


@pytest.mark.owes_each(*Capability)
async def test_a_declared_operation_works(system: System, capability: Capability) -> None:
    session_id = await system.seed_one(Seed(name="Hello", agent_id="planner", runs=exchanges(1)))
    await CALLS[capability](system.backend, session_id)


@pytest.mark.refuses
async def test_an_operation_that_is_not_declared_is_refused(system: System, capability: Capability) -> None:
    session_id = await system.seed_one(Seed(name="Hello"))
    with pytest.raises(Unsupported, match=capability):
        await CALLS[capability](system.backend, session_id)


@pytest.mark.owes()
async def test_the_capabilities_are_those_that_the_harness_declares(system: System) -> None:
    assert system.backend.capabilities == system.harness.capabilities
    assert system.backend.for_caller(Caller(subject="ann")).capabilities == system.harness.capabilities


@pytest.mark.parametrize("harness", harnesses())
def test_every_backend_has_the_required_operations(harness: type[Harness]) -> None:
    assert harness.capabilities >= REQUIRED


def test_every_operation_has_a_call_in_the_suite() -> None:
    assert set(CALLS) == set(Capability)


@pytest.mark.parametrize("harness", harnesses())
def test_every_known_deviation_has_the_name_of_a_test(harness: type[Harness]) -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in harness.deviations if f"def {name.partition('[')[0]}(" not in sources] == []


@pytest.mark.parametrize("harness", harnesses())
def test_a_variant_runs_modules_that_exist(harness: type[Harness]) -> None:
    assert harness.modules <= {path.stem for path in Path(__file__).parent.glob("test_*.py")}


@pytest.mark.slow
def test_an_external_harness_runs_and_its_deviations_must_fail(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", "test_a_declared_operation"],
        cwd=root,
        env=os.environ | {VARIABLE: "elsewhere:Elsewhere", "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    report = " ".join(ended.stdout.split())
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout + ended.stderr
    assert "test_a_declared_operation_works[elsewhere-get_session] - knows no session that was seeded" in report
    assert "FAILED tests/contract/test_suite.py::test_a_declared_operation_works[elsewhere-list_sessions]" in report
    assert "[XPASS(strict)] is stale" in report
    assert "2 failed" in report
    assert "1 xfailed" in report
